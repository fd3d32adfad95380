// Express with Node's fetch: the composed screen, without an edge.
import express from 'express';
import { listen, urlOf } from './services.mjs';
import { orderDetails } from './screen.mjs';

const urls = {
  order: `${urlOf('ORDER')}/orders/`,
  ticket: `${urlOf('KITCHEN')}/tickets/`,
  delivery: `${urlOf('DELIVERY')}/deliveries/`,
  restaurant: `${urlOf('RESTAURANT')}/restaurants/`,
};
const fetchPart = async (part, id) => {
  const answer = await fetch(urls[part] + id);
  if (!answer.ok) throw new Error('upstream_error');
  return answer.json();
};
const app = express();
app.get('/orders/:id', async (request, response) => response.json(await orderDetails(request.params.id, fetchPart)));
const server = app.listen(listen.port, listen.host);
server.keepAliveTimeout = 3_600_000;
