// The part of bff-web's schema that the benchmark's query asks for, and its resolvers: the same calls to the same services.
import * as services from './services.mjs';

export const typeDefs = `
  type Query { order(id: ID!): Order }
  type Order {
    id: ID! state: String! restaurantName: String! total: Money! lineItems: [LineItem!]! createdAt: String!
    ticket: Ticket delivery: Delivery restaurant: Restaurant
  }
  type Money { amount: String! currency: String! }
  type LineItem { menuItemId: ID! name: String! quantity: Int! price: Money }
  type Ticket { id: ID! state: String! readyBy: String acceptedAt: String }
  type Delivery { id: ID! state: String! scheduledDeliveryTime: String courier: Courier }
  type Courier { name: String! location: Location }
  type Location { lat: Float! lng: Float! }
  type Restaurant { id: ID! name: String! cuisine: String! address: Address! }
  type Address { street1: String! city: String! zip: String! }
`;

const one = (from, path, id) => services.get(from, `${path}?ids=${id}`).then(({ items }) => items[0] ?? null);

export const resolvers = {
  Query: { order: (_, { id }) => one(services.order, '/orders', id) },
  Order: {
    ticket: ({ id }) => one(services.kitchen, '/tickets', id),
    delivery: ({ id }) => one(services.delivery, '/deliveries', id),
    restaurant: ({ restaurantId }) => one(services.restaurant, '/restaurants', restaurantId),
  },
};
