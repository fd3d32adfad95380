// The app's first program in TypeScript: the first screen, an order, its details. `schema` is generated.
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

declare const process: { env: Record<string, string | undefined> };
const { BASE: baseUrl = "", TOKEN: token = "" } = process.env;
const api = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

function must<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) throw new Error(`no ${what}`);
  return value;
}

const home = await api.GET("/home", { params: { query: { lat: 37.8, lng: -122.27 } } });
const nearby = must(must(home.data, "screen").restaurants, "section");
// Which members there are hangs on the status: the compiler knows it.
if (nearby.status === "unavailable") throw new Error(nearby.reason);
const id = must(nearby.data[0], "restaurant").id;
const restaurant = must((await api.GET("/restaurants/{id}", { params: { path: { id } } })).data, "restaurant");
const placed = await api.POST("/orders", {
  params: { header: { "Idempotency-Key": `smoke-${Date.now()}` } },
  body: {
    restaurantId: id,
    deliveryAddress: { street1: "1432 Alice Street", city: "Oakland", state: "CA", zip: "94612" },
    lineItems: [{ menuItemId: must(restaurant.menu.items[0], "dish").id, quantity: 5 }],
  },
});
const order = must(placed.data, `order: ${JSON.stringify(placed.error)}`);
const path = { id: order.orderId };
const details = await api.GET("/orders/{id}", { params: { path, query: { fields: ["order", "ticket"] } } });
const section = must(must(details.data, "screen").order, "section");
const none = await api.GET("/orders/{id}", { params: { path: { id: "none" } } });
if (must(none.error, "problem").status !== 404) throw new Error("the problem is another one");
console.log(section.data.lineItems[0]?.quantity);
