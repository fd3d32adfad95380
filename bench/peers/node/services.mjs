// What all Node peers share: the services' addresses and keep-alive connections to them (undici).
import { Pool } from 'undici';

const port = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
};
const pool = (name) => new Pool(`http://127.0.0.1:${port(name)}`, { connections: 128, keepAliveTimeout: 600_000 });

export const listen = { host: '127.0.0.1', port: Number(port('PORT')) };
export const order = pool('ORDER');
export const kitchen = pool('KITCHEN');
export const delivery = pool('DELIVERY');
export const restaurant = pool('RESTAURANT');
export const history = pool('HISTORY');
export const urlOf = (name) => `http://127.0.0.1:${port(name)}`;

export async function get(from, path) {
  const { statusCode, body } = await from.request({ path, method: 'GET', headers: { accept: 'application/json' } });
  const answer = await body.json();
  if (statusCode !== 200) throw Object.assign(new Error('upstream_error'), { statusCode });
  return answer;
}
