// Who is signed in. Signing in is a link to the BFF, and all that this page ever has of the session is whether there is one.

import { ask, onFailure, type ResultOf } from './graphql';
import { ME } from './operations';
import { belongsTo, forget } from './owner';
import { store } from './store';

export type Viewer = NonNullable<ResultOf<typeof ME>['me']>;

export type Session =
  | { state: 'loading' }
  | { state: 'anonymous' }
  | { state: 'known'; viewer: Viewer }
  // It was there, and has ended without the person's doing.
  | { state: 'ended' }
  // Nobody could say.
  | { state: 'unknown' };

export const session = store<Session>({ state: 'loading' });

onFailure.told = ({ code }) => {
  if (code === 'UNAUTHENTICATED' && session.get().state === 'known') session.set({ state: 'ended' });
};

export async function loadSession(): Promise<void> {
  const { data, failures } = await ask(ME, {});
  const before = viewerOf(session.get());
  if (data?.me) {
    belongsTo(data.me.id);
    // Nothing of somebody else's is left in the page.
    if (before && before.id !== data.me.id) location.reload();
    session.set({ state: 'known', viewer: data.me });
  } else if (failures.some(({ path }) => path === '' || path === 'me')) {
    // What was known is not forgotten because nobody answers for a moment.
    if (!before) session.set({ state: 'unknown' });
  } else {
    const { state } = session.get();
    session.set({ state: state === 'known' || state === 'ended' ? 'ended' : 'anonymous' });
  }
}

export function viewerOf(session: Session): Viewer | null {
  return session.state === 'known' ? session.viewer : null;
}

export function has(session: Session, role: string): boolean {
  return viewerOf(session)?.roles.includes(role) ?? false;
}

export function nameOf({ id, consumer }: Viewer): string {
  return consumer ? `${consumer.firstName} ${consumer.lastName}` : id;
}

/** Signing in leads back to where the person is. */
export function signInUrl(path = location.pathname + location.search): string {
  return `/bff/login?returnUrl=${encodeURIComponent(path)}`;
}

/** Ends the session here, then goes where the provider ends its own. False: it could not be done. */
export async function signOut(): Promise<boolean> {
  try {
    const response = await fetch('/bff/logout', { method: 'POST', credentials: 'same-origin', headers: { 'X-CSRF': '1' } });
    if (!response.ok) return false;
    const { logoutUrl } = await response.json();
    session.set({ state: 'anonymous' });
    forget();
    location.assign(typeof logoutUrl === 'string' ? logoutUrl : '/');
    return true;
  } catch {
    return false;
  }
}
