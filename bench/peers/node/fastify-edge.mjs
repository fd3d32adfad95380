// fastify with a gateway's edge: @fastify/jwt (its verified tokens cached), two limits of @fastify/rate-limit, request id,
// a log line for each request to a file, security headers, a deadline.
import { readFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import fastify from 'fastify';
import jwt from '@fastify/jwt';
import rateLimit from '@fastify/rate-limit';
import * as services from './services.mjs';

const app = fastify({
  logger: { level: 'info', file: process.env.LOG },
  genReqId: () => randomUUID(),
  keepAliveTimeout: 3_600_000,
});
await app.register(jwt, {
  secret: { public: readFileSync(process.env.ISSUER_KEY, 'utf8') },
  verify: { algorithms: ['RS256'], allowedIss: process.env.ISSUER, allowedAud: 'ftgo-web', cache: 2000 },
});
await app.register(rateLimit, { global: false });
const limit = (keyGenerator) => app.rateLimit({ max: 1_000_000_000, timeWindow: 1000, keyGenerator });
const byAddress = limit((request) => request.ip);
const byCaller = limit((request) => request.user.sub);

app.addHook('onSend', async (request, reply) => {
  reply.headers({
    'x-request-id': request.id,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'x-frame-options': 'DENY',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  });
});
app.get('/restaurants/available', {
  onRequest: [byAddress, (request) => request.jwtVerify(), byCaller],
}, async (request, reply) => {
  const { statusCode, headers, body } = await services.history.request({
    path: request.raw.url, method: 'GET', headersTimeout: 3000, headers: { 'x-request-id': request.id },
  });
  for (const name of ['content-type', 'content-length', 'etag', 'cache-control']) {
    if (headers[name]) reply.header(name, headers[name]);
  }
  return reply.code(statusCode).send(body);
});
await app.listen(services.listen);
