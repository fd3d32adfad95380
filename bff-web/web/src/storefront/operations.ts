// Every document that the storefront asks, in one place: a test checks each against the schema.

import { graphql, type ResultOf } from './graphql';

export const ME = graphql(`
  query Me {
    me {
      id
      roles
      restaurantIds
      consumer { firstName lastName }
    }
  }
`);

export const RESTAURANTS = graphql(`
  query Restaurants($near: PlaceInput!, $at: DateTime, $after: String) {
    restaurants(near: $near, at: $at, first: 12, after: $after) {
      nodes {
        id
        name
        cuisine
        distance
        openUntil
        orderMinimum { amount currency }
        address { street1 city }
      }
      pageInfo { hasNextPage endCursor }
    }
  }
`);

export const RESTAURANT = graphql(`
  query Restaurant($id: ID!) {
    restaurant(id: $id) {
      id
      name
      cuisine
      timeZone
      address { street1 street2 city state zip }
      openingHours { day opens closes }
      orderMinimum { amount currency }
      menu { items { id name description price { amount currency } } }
    }
  }
`);

export const ORDERS = graphql(`
  query Orders($filter: OrderFilter, $after: String) {
    orders(filter: $filter, first: 8, after: $after) {
      nodes {
        id
        state
        restaurantName
        createdAt
        total { amount currency }
        lineItems { name quantity }
        ticket { state acceptedAt preparingAt readyForPickupAt pickedUpAt }
        delivery { state pickedUpAt deliveredAt }
      }
      pageInfo { hasNextPage endCursor }
    }
  }
`);

const ORDER_PARTS = graphql(`
  fragment OrderParts on Order {
    id
    state
    rejectionReason
    createdAt
    deliveryTime
    deliveryAddress { street1 street2 city state zip }
    restaurantName
    total { amount currency }
    lineItems { menuItemId name quantity price { amount currency } }
    ticket { state readyBy acceptedAt preparingAt readyForPickupAt pickedUpAt }
    delivery {
      state
      scheduledDeliveryTime
      pickedUpAt
      deliveredAt
      courier { name }
    }
    bill { state amount { amount currency } authorizedAt }
    restaurant { id orderMinimum { amount currency } address { street1 city } menu { items { id name price { amount currency } } } }
  }
`);

export const ORDER = graphql(
  `
  query Order($id: ID!) {
    order(id: $id) { ...OrderParts }
  }
`,
  [ORDER_PARTS],
);

export const ORDER_CHANGED = graphql(
  `
  subscription OrderChanged($id: ID!) {
    orderChanged(id: $id) { ...OrderParts }
  }
`,
  [ORDER_PARTS],
);

export type Order = ResultOf<typeof ORDER_PARTS>;

export const PLACE_ORDER = graphql(`
  mutation PlaceOrder($input: PlaceOrderInput!) {
    placeOrder(input: $input) { orderId state replayed }
  }
`);

export const CANCEL_ORDER = graphql(`
  mutation CancelOrder($id: ID!, $key: String) {
    cancelOrder(id: $id, idempotencyKey: $key) { orderId state }
  }
`);

export const REVISE_ORDER = graphql(`
  mutation ReviseOrder($input: ReviseOrderInput!) {
    reviseOrder(input: $input) { orderId state }
  }
`);

export const KITCHENS = graphql(`
  query Kitchens {
    me {
      id
      restaurantIds
      restaurants { id name }
    }
  }
`);

const TICKET_PARTS = graphql(`
  fragment TicketParts on Ticket {
    id
    state
    createdAt
    readyBy
    acceptedAt
    preparingAt
    readyForPickupAt
    lineItems { menuItemId name quantity }
  }
`);

export type Ticket = ResultOf<typeof TICKET_PARTS>;

export const TICKETS = graphql(
  `
  query Tickets($restaurantId: ID!, $state: TicketState!, $after: String) {
    tickets(restaurantId: $restaurantId, state: $state, first: 50, after: $after) {
      nodes { ...TicketParts }
      pageInfo { hasNextPage endCursor }
    }
  }
`,
  [TICKET_PARTS],
);

export const TICKETS_CHANGED = graphql(
  `
  subscription TicketsChanged($restaurantId: ID!) {
    ticketsChanged(restaurantId: $restaurantId) {
      ticket { ...TicketParts }
    }
  }
`,
  [TICKET_PARTS],
);

export const ACCEPT = graphql(
  `
  mutation Accept($id: ID!, $readyBy: DateTime!) {
    acceptTicket(id: $id, readyBy: $readyBy) { ...TicketParts }
  }
`,
  [TICKET_PARTS],
);

export const PREPARING = graphql(
  `
  mutation Preparing($id: ID!) {
    markPreparing(id: $id) { ...TicketParts }
  }
`,
  [TICKET_PARTS],
);

export const READY = graphql(
  `
  mutation Ready($id: ID!) {
    markReady(id: $id) { ...TicketParts }
  }
`,
  [TICKET_PARTS],
);
