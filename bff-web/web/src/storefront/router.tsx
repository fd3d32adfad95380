// Which view is shown: the path says it. Links are ordinary ones; a click on one of ours changes the view and loads nothing.

import type { AnchorHTMLAttributes, ComponentChildren } from 'preact';
import { store } from './store';

export type Route =
  | { view: 'restaurants' }
  | { view: 'restaurant'; id: string }
  | { view: 'checkout' }
  | { view: 'orders' }
  | { view: 'order'; id: string }
  | { view: 'kitchen'; restaurant: string | null }
  | { view: 'nowhere' };

export function routeOf(path: string): Route {
  let segments: string[];
  try {
    segments = path.split('/').filter(Boolean).map(decodeURIComponent);
  } catch {
    return { view: 'nowhere' };
  }
  const [first, id, ...rest] = segments;
  if (rest.length > 0) return { view: 'nowhere' };
  if (first === undefined) return { view: 'restaurants' };
  if (first === 'restaurants' && id) return { view: 'restaurant', id };
  if (first === 'checkout' && !id) return { view: 'checkout' };
  if (first === 'orders') return id ? { view: 'order', id } : { view: 'orders' };
  if (first === 'kitchen') return { view: 'kitchen', restaurant: id ?? null };
  return { view: 'nowhere' };
}

export const path = store(location.pathname);

addEventListener('popstate', () => path.set(location.pathname));

export function go(to: string, replace = false): void {
  history[replace ? 'replaceState' : 'pushState'](null, '', to);
  path.set(location.pathname);
  if (!replace) scrollTo(0, 0);
}

type LinkProps = Omit<AnchorHTMLAttributes<HTMLAnchorElement>, 'href' | 'role'> & { to: string; children?: ComponentChildren; [data: `data-${string}`]: string };

export function Link({ to, ...rest }: LinkProps) {
  const follow = (event: MouseEvent) => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(to);
  };
  return <a {...rest} href={to} onClick={follow} />;
}
