// The screen "order details": which fields it shows of each part. How the parts are fetched is each peer's own.
export const pick = {
  order: ({ id, state, rejectionReason, restaurantId, restaurantName, lineItems, total, deliveryAddress, deliveryTime, createdAt, updatedAt }) =>
    ({ id, state, rejectionReason, restaurantId, restaurantName, lineItems, total, deliveryAddress, deliveryTime, createdAt, updatedAt }),
  ticket: ({ id, state, readyBy, acceptedAt, preparingAt, readyForPickupAt, pickedUpAt }) =>
    ({ id, state, readyBy, acceptedAt, preparingAt, readyForPickupAt, pickedUpAt }),
  delivery: ({ id, state, courier, scheduledPickupTime, scheduledDeliveryTime, pickedUpAt, deliveredAt }) =>
    ({ id, state, courier: courier && { name: courier.name, location: courier.location }, scheduledPickupTime, scheduledDeliveryTime, pickedUpAt, deliveredAt }),
  restaurant: ({ id, name, address, location }) => ({ id, name, address, location }),
};

const section = (promise, part) =>
  promise.then((data) => ({ status: 'ok', data: pick[part](data) }), () => ({ status: 'unavailable', reason: 'upstream_error' }));

/** `fetchPart(part, id)` gives one part's decoded answer. */
export async function orderDetails(id, fetchPart) {
  const whole = fetchPart('order', id);
  const [order, ticket, delivery, restaurant] = await Promise.all([
    whole.then((data) => ({ status: 'ok', data: pick.order(data) })),
    section(fetchPart('ticket', id), 'ticket'),
    section(fetchPart('delivery', id), 'delivery'),
    section(whole.then(({ restaurantId }) => fetchPart('restaurant', restaurantId)), 'restaurant'),
  ]);
  return { order, ticket, delivery, restaurant };
}
