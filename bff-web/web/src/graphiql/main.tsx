/** @jsxImportSource react */
// Starts GraphiQL against this site's own endpoint, with queries to begin with, and says who is signed in. What GraphiQL
// shows and does is its own.

import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { GraphiQL } from 'graphiql';
import { createClient } from 'graphql-ws';
import { StrictMode, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { EXAMPLES } from './examples';

// GraphiQL's dialogs add one style element: it carries the nonce that the page's policy names. Scripts may read a nonce,
// the page's text does not show it any more.
const nonce = document.querySelector<HTMLScriptElement>('script[nonce]')?.nonce;
Object.assign(globalThis, { __webpack_nonce__: nonce });

const fetcher = createGraphiQLFetcher({
  url: '/graphql',
  headers: { 'X-CSRF': '1' },
  wsClient: createClient({
    url: `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/graphql`,
    lazy: true,
    shouldRetry: () => true,
  }),
});

type Who = { sub: string; roles: string[] } | 'loading' | 'nobody' | 'unknown';

async function whoIsIt(): Promise<Who> {
  try {
    const response = await fetch('/bff/user', { credentials: 'same-origin' });
    if (response.status === 401) return 'nobody';
    return response.ok ? await response.json() : 'unknown';
  } catch {
    return 'unknown';
  }
}

async function signOut() {
  const response = await fetch('/bff/logout', { method: 'POST', credentials: 'same-origin', headers: { 'X-CSRF': '1' } });
  if (!response.ok) return;
  const { logoutUrl } = await response.json();
  // What the storefront keeps of whoever signs out is nobody else's, either.
  for (const key of ['ftgo.cart', 'ftgo.place']) localStorage.removeItem(key);
  location.assign(logoutUrl ?? '/graphiql');
}

function SignedIn() {
  const [who, setWho] = useState<Who>('loading');
  useEffect(() => {
    const look = () => {
      if (document.visibilityState === 'visible') whoIsIt().then(setWho);
    };
    look();
    document.addEventListener('visibilitychange', look);
    return () => document.removeEventListener('visibilitychange', look);
  }, []);
  if (who === 'loading') return <span role="status">…</span>;
  if (who === 'unknown') return <span role="status">Whether you are signed in is not known.</span>;
  if (who === 'nobody') {
    return (
      <span role="status">
        Not signed in. <a href="/bff/login?returnUrl=%2Fgraphiql">Sign in</a>
      </span>
    );
  }
  return (
    <>
      <span role="status">
        Signed in as {who.sub} ({who.roles.join(', ')})
      </span>
      <button type="button" onClick={signOut}>
        Sign out
      </button>
    </>
  );
}

// Made once: GraphiQL takes another list for another beginning.
const TABS = EXAMPLES.map(({ query, variables }) => ({ query, variables: variables ?? null }));

function Page() {
  return (
    <>
      <header className="who">
        <a href="/">FTGO</a>
        <span>Queries to begin with are in the tabs.</span>
        <span className="state" />
        <SignedIn />
      </header>
      <GraphiQL
        fetcher={fetcher}
        defaultTabs={TABS}
        defaultEditorToolsVisibility="variables"
        // A token has no business in the browser's storage.
        shouldPersistHeaders={false}
      />
    </>
  );
}

const root = document.getElementById('graphiql');
if (root) {
  createRoot(root).render(
    <StrictMode>
      <Page />
    </StrictMode>,
  );
}
