// fastify + undici: pass-through (answers stream) and the composed screen, without an edge.
import fastify from 'fastify';
import * as services from './services.mjs';
import { orderDetails } from './screen.mjs';

const parts = {
  order: (id) => services.get(services.order, `/orders/${id}`),
  ticket: (id) => services.get(services.kitchen, `/tickets/${id}`),
  delivery: (id) => services.get(services.delivery, `/deliveries/${id}`),
  restaurant: (id) => services.get(services.restaurant, `/restaurants/${id}`),
};
const app = fastify({ logger: false, keepAliveTimeout: 3_600_000 });

app.get('/restaurants/available', async (request, reply) => {
  const { statusCode, headers, body } = await services.history.request({ path: request.raw.url, method: 'GET' });
  for (const name of ['content-type', 'content-length', 'etag', 'cache-control']) {
    if (headers[name]) reply.header(name, headers[name]);
  }
  return reply.code(statusCode).send(body);
});
app.get('/orders/:id', (request) => orderDetails(request.params.id, (part, id) => parts[part](id)));
await app.listen(services.listen);
