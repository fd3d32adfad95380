// Starts GraphiQL against our own endpoint. What GraphiQL shows and does is its own.
'use strict';

// GraphiQL's dialogs add one style element: it carries the nonce that the page's policy allows.
globalThis.__webpack_nonce__ = document.querySelector('meta[name="style-nonce"]').content;

const defaultQuery = `# FTGO's GraphQL API for browsers.
#
# Restaurants can be read by anybody. For orders,
# put a token into "Headers" below:
#   {"Authorization": "Bearer <token>"}
# The demo's identity provider gives one at
#   /dev/token?sub=consumer-1

query Nearby {
  restaurants(near: {lat: 37.80, lng: -122.27}, first: 3) {
    nodes {
      name
      cuisine
      distance
      restaurant {
        menu {
          items {
            id
            name
            price { amount currency }
          }
        }
      }
    }
  }
}

query MyOrders {
  orders(first: 5) {
    nodes {
      id
      state
      total { amount currency }
      restaurant { name }
      ticket { state readyBy }
      delivery { state courier { name } }
    }
    pageInfo { hasNextPage endCursor }
  }
}
`;

async function fetcher(parameters, options) {
  const response = await fetch('/graphql', {
    method: 'POST',
    credentials: 'same-origin',
    headers: {
      'Content-Type': 'application/json',
      Accept: 'application/graphql-response+json, application/json;q=0.9',
      'X-CSRF': '1',
      ...(options && options.headers),
    },
    body: JSON.stringify(parameters),
  });
  return response.json();
}

ReactDOM.createRoot(document.getElementById('graphiql')).render(
  React.createElement(GraphiQL, {
    fetcher,
    defaultQuery,
    defaultEditorToolsVisibility: 'headers',
    // A token has no business in the browser's storage.
    shouldPersistHeaders: false,
  }),
);
