// What is followed live: one WebSocket (graphql-transport-ws) for the page, opened when something is followed, tried again for
// as long as it is, with growing pauses. Whether it works is told to the views, which say so.

import { type Client, createClient } from 'graphql-ws';
import { useEffect, useRef } from 'preact/hooks';
import { type Answer, type Document, failureOf, onFailure, textOf } from './graphql';
import { pause } from './pause';
import { store } from './store';

export type Connection = 'off' | 'connecting' | 'live' | 'interrupted';

export const connection = store<Connection>('off');

/** Without an answer for so long the connection is taken for dead. */
const SILENCE = 10_000;

let client: Client | null = null;

function open(): Client {
  let socket: WebSocket | null = null;
  let silence: ReturnType<typeof setTimeout> | undefined;
  const heard = () => clearTimeout(silence);
  client ??= createClient({
    url: `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/graphql`,
    lazy: true,
    keepAlive: 15_000,
    connectionAckWaitTimeout: SILENCE,
    retryAttempts: Number.POSITIVE_INFINITY,
    // Also after 4403: the session's token has ended, and a new handshake has it refreshed.
    shouldRetry: () => true,
    retryWait: (retries) => {
      connection.set('interrupted');
      return pause(retries);
    },
    on: {
      opened: (opened) => {
        socket = opened as WebSocket;
      },
      connecting: () => {
        if (connection.get() === 'off') connection.set('connecting');
      },
      connected: () => connection.set('live'),
      ping: (received) => {
        if (!received) {
          silence = setTimeout(() => socket?.close(4408, 'Request Timeout'), SILENCE);
        }
      },
      pong: heard,
      closed: () => {
        heard();
        connection.set(followers > 0 ? 'interrupted' : 'off');
      },
    },
  });
  return client;
}

/** Views that follow something, also while they wait to try again. */
let followers = 0;

/** Follows something until the returned function is called. `ended`: the server has nothing more to tell. */
function follow<Data, Variables>(
  document: Document<Data, Variables>,
  variables: Variables,
  told: (answer: Answer<Data>) => void,
  ended: () => void,
): () => void {
  let over = false;
  const tell = (answer: Answer<Data>) => {
    if (over) return;
    for (const failure of answer.failures) onFailure.told(failure);
    told(answer);
  };
  const stop = open().subscribe(
    { query: textOf(document), variables: variables as Record<string, unknown> },
    {
      next: ({ data, errors }) => tell({ data: (data as Data) ?? null, failures: (errors ?? []).map(failureOf as never) }),
      error: (error) => {
        // A list is what the server says of the operation. Anything else has closed the connection, and says nothing of it.
        if (Array.isArray(error)) tell({ data: null, failures: error.map(failureOf) });
        if (!over) ended();
      },
      complete: () => {
        if (!over) ended();
      },
    },
  );
  return () => {
    over = true;
    stop();
  };
}

/** Follows it for as long as the view is there; `null` variables = nothing. Each interruption ends with the state as it is then. */
export function useLive<Data, Variables>(
  document: Document<Data, Variables>,
  variables: Variables | null,
  told: (answer: Answer<Data>) => void,
): void {
  const latest = useRef(told);
  latest.current = told;
  const key = variables === null ? null : JSON.stringify(variables);
  useEffect(() => {
    if (key === null) return;
    let over = false;
    let tries = 0;
    let stop = () => {};
    const begin = () => {
      if (over) return;
      stop = follow(
        document,
        JSON.parse(key) as Variables,
        (answer) => {
          if (answer.data !== null) tries = 0;
          latest.current(answer);
        },
        () => {
          stop();
          pause(tries).then(begin);
          tries += 1;
        },
      );
    };
    followers += 1;
    begin();
    return () => {
      over = true;
      followers -= 1;
      if (followers === 0) connection.set('off');
      stop();
    };
  }, [document, key]);
}
