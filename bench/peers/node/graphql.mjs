// A GraphQL server on Node, over graphql-schema.mjs: `node graphql.mjs apollo`, `mercurius` or `yoga`. No edge.
import fastify from 'fastify';
import { listen } from './services.mjs';
import { resolvers, typeDefs } from './graphql-schema.mjs';

const app = fastify({ logger: false, keepAliveTimeout: 3_600_000 });
switch (process.argv[2]) {
  case 'apollo': {
    const { ApolloServer } = await import('@apollo/server');
    const { default: integration, fastifyApolloDrainPlugin } = await import('@as-integrations/fastify');
    const apollo = new ApolloServer({ typeDefs, resolvers, plugins: [fastifyApolloDrainPlugin(app)] });
    await apollo.start();
    await app.register(integration(apollo));
    break;
  }
  case 'mercurius': {
    const { default: mercurius } = await import('mercurius');
    await app.register(mercurius, { schema: typeDefs, resolvers, jit: 1 });
    break;
  }
  case 'yoga': {
    const { createSchema, createYoga } = await import('graphql-yoga');
    const yoga = createYoga({ schema: createSchema({ typeDefs, resolvers }), logging: false, graphiql: false });
    app.addContentTypeParser('application/json', {}, (request, payload, done) => done(null));
    app.route({
      url: '/graphql',
      method: ['GET', 'POST'],
      handler: (request, reply) => yoga.handleNodeRequestAndResponse(request, reply, { request, reply }),
    });
    break;
  }
  default:
    throw new Error('usage: node graphql.mjs apollo|mercurius|yoga');
}
await app.listen(listen);
