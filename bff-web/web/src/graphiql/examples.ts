// Queries to begin with, for what the demonstration has seeded: four consumers, six restaurants and their staff.

export interface Example {
  title: string;
  query: string;
  variables?: string;
}

// The first has no variables: GraphiQL does not show those of the tab that it begins with.
export const EXAMPLES: readonly Example[] = [
  {
    title: 'Restaurants near a place',
    query: `# Anybody may ask this.
query Nearby {
  restaurants(near: { lat: 37.8, lng: -122.27 }, first: 5) {
    nodes {
      id
      name
      cuisine
      distance
      openUntil
      restaurant {
        menu { items { id name price { amount currency } } }
      }
    }
    pageInfo { hasNextPage endCursor }
  }
}
`,
  },
  {
    title: 'Who am I?',
    query: `# null for nobody: sign in above.
query Me {
  me {
    id
    roles
    scopes
    consumer { firstName lastName email }
    restaurants { id name }
  }
}
`,
  },
  {
    title: 'My orders, with everything around them',
    query: `# For consumers. One call to each service, however many orders there are.
query MyOrders {
  orders(first: 10) {
    nodes {
      id
      state
      createdAt
      restaurantName
      total { amount currency }
      lineItems { quantity name }
      ticket { state readyBy }
      delivery { state courier { name } scheduledDeliveryTime }
      bill { state amount { amount currency } }
    }
    pageInfo { hasNextPage endCursor }
  }
}
`,
  },
  {
    title: 'Place an order',
    query: `# For consumers. With the same idempotencyKey it is still one order.
mutation PlaceOrder($input: PlaceOrderInput!) {
  placeOrder(input: $input) {
    orderId
    state
    replayed
  }
}
`,
    variables: `{
  "input": {
    "restaurantId": "restaurant-1",
    "lineItems": [{ "menuItemId": "restaurant-1-item-1", "quantity": 2 }],
    "deliveryAddress": { "street1": "415 Lakeshore Avenue", "street2": "Apt 12", "city": "Oakland", "state": "CA", "zip": "94610" },
    "idempotencyKey": "my-first-order"
  }
}`,
  },
  {
    title: 'Follow an order',
    query: `# For consumers. Answers at once, and again with each change. Put an order's id into the variables.
subscription Follow($id: ID!) {
  orderChanged(id: $id) {
    state
    ticket { state readyBy }
    delivery { state courier { name } }
  }
}
`,
    variables: '{\n  "id": ""\n}',
  },
  {
    title: 'Tickets of a restaurant',
    query: `# For its staff: staff-1 works for restaurant-1 to 3, staff-2 for the others.
query Tickets {
  tickets(restaurantId: "restaurant-1", state: AWAITING_ACCEPTANCE) {
    nodes {
      id
      createdAt
      lineItems { quantity name }
    }
  }
}
`,
  },
  {
    title: 'Follow the tickets of a restaurant',
    query: `# For its staff. "ticket: null" says that the list may have changed as a whole.
subscription Kitchen {
  ticketsChanged(restaurantId: "restaurant-1") {
    ticket { id state lineItems { quantity name } }
  }
}
`,
  },
];
