// The storefront: its frame, and which view is in it.

import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Boundary } from './boundary';
import { cart, count } from './cart';
import { Link, path, routeOf } from './router';
import { has, loadSession, nameOf, session, signInUrl, signOut } from './session';
import { useStore } from './store';
import { Announcer } from './ui';
import { Checkout } from './views/checkout';
import { Kitchen } from './views/kitchen';
import { Nowhere } from './views/nowhere';
import { OrderView } from './views/order';
import { Orders } from './views/orders';
import { Restaurant } from './views/restaurant';
import { Restaurants } from './views/restaurants';

function View() {
  const route = routeOf(useStore(path));
  switch (route.view) {
    case 'restaurants':
      return <Restaurants />;
    case 'restaurant':
      return <Restaurant key={route.id} id={route.id} />;
    case 'checkout':
      return <Checkout />;
    case 'orders':
      return <Orders />;
    case 'order':
      return <OrderView id={route.id} />;
    case 'kitchen':
      return <Kitchen restaurant={route.restaurant} />;
    case 'nowhere':
      return <Nowhere />;
  }
}

function Tab({ to, children, label }: { to: string; children: preact.ComponentChildren; label?: string }) {
  const here = useStore(path);
  const current = to === '/' ? here === '/' || here.startsWith('/restaurants') : here.startsWith(to);
  return (
    <Link to={to} aria-current={current ? 'page' : undefined} aria-label={label}>
      {children}
    </Link>
  );
}

function Frame() {
  const who = useStore(session);
  const here = useStore(path);
  const items = count(useStore(cart));
  const [stuck, setStuck] = useState(false);
  useEffect(() => {
    loadSession();
    // While a tab was away the session may have ended, or somebody may have signed in in another one.
    const back = () => {
      if (document.visibilityState === 'visible') loadSession();
    };
    document.addEventListener('visibilitychange', back);
    return () => document.removeEventListener('visibilitychange', back);
  }, []);
  const staff = has(who, 'staff');
  return (
    <>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header class="top">
        <Link to="/" class="brand" aria-label="FTGO, home">
          <span aria-hidden="true">ft</span>
          <span aria-hidden="true">go</span>
        </Link>
        <nav aria-label="Main">
          <Tab to="/">Restaurants</Tab>
          {has(who, 'consumer') && <Tab to="/orders">Orders</Tab>}
          {staff && <Tab to="/kitchen">Kitchen</Tab>}
          {!staff && (
            <Tab to="/checkout" label={`Cart, ${items} ${items === 1 ? 'item' : 'items'}`}>
              Cart {items > 0 && <span class="count">{items}</span>}
            </Tab>
          )}
        </nav>
        <div class="who">
          {who.state === 'known' && (
            <>
              <span>
                <span class="unseen">Signed in as </span>
                {nameOf(who.viewer)}
              </span>
              <button type="button" class="quiet" onClick={async () => setStuck(!(await signOut()))}>
                Sign out
              </button>
            </>
          )}
          {(who.state === 'anonymous' || who.state === 'ended' || who.state === 'unknown') && (
            <a class="button small" href={signInUrl(here)}>
              Sign in
            </a>
          )}
        </div>
      </header>
      {who.state === 'ended' && (
        <div role="alert" class="notice">
          Your session has ended. Your cart is still here. <a href={signInUrl(here)}>Sign in again</a>
        </div>
      )}
      {who.state === 'unknown' && (
        <div role="alert" class="notice">
          Whether you are signed in could not be found out.{' '}
          <button type="button" class="quiet" onClick={loadSession}>
            Try again
          </button>
        </div>
      )}
      {stuck && (
        <div role="alert" class="notice">
          You could not be signed out. Try again.
        </div>
      )}
      <main id="main" tabIndex={-1}>
        <Boundary key={here.startsWith('/kitchen') ? 'kitchen' : here} at={here}>
          <View />
        </Boundary>
      </main>
      <footer>
        <p>
          A demonstration: nobody cooks, nothing is charged. <a href="/graphiql">The same data in GraphiQL</a>
        </p>
      </footer>
      <Announcer />
    </>
  );
}

const root = document.getElementById('app');
if (root) {
  root.replaceChildren();
  render(<Frame />, root);
}
