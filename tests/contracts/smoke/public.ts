// A partner's first program in TypeScript: find a restaurant, order, read the order, see the plan. `schema` is generated.
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

declare const process: { env: Record<string, string | undefined> };
const { BASE: baseUrl = "", TOKEN: token = "" } = process.env;
const api = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

function must<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) throw new Error(`no ${what}`);
  return value;
}

const found = await api.GET("/v2/restaurants", { params: { query: { lat: 37.8, lng: -122.27, limit: 1 } } });
const restaurant = must(must(found.data, "page").items[0], "restaurant");
const path = { id: restaurant.id };
const menu = must((await api.GET("/v2/restaurants/{id}/menu", { params: { path } })).data, "menu");
const placed = await api.POST("/v2/orders", {
  params: { header: { "Idempotency-Key": `smoke-${Date.now()}` } },
  body: {
    restaurantId: restaurant.id,
    deliveryAddress: { street1: "1432 Alice Street", city: "Oakland", state: "CA", zip: "94612" },
    lineItems: [{ menuItemId: must(menu.items[0], "dish").id, quantity: 5 }],
  },
});
const order = must(placed.data, `order: ${JSON.stringify(placed.error)}`);
const read = await api.GET("/v2/orders/{id}", { params: { path: { id: order.orderId } } });
const old = await api.GET("/v1/orders/{id}", { params: { path: { id: order.orderId } } });
const usage = await api.GET("/v2/usage");
const none = await api.GET("/v2/orders/{id}", { params: { path: { id: "none" } } });
if (must(none.error, "problem").status !== 404) throw new Error("the problem is another one");
if (must(usage.data, "usage").day.used < 1) throw new Error("nothing was counted");
if (must(old.data, "order of v1").id !== order.orderId) throw new Error("another order");
console.log(must(read.data, "order").lineItems[0]?.quantity);
