// Whose the cart and the address are that this browser keeps: they outlive a session, and must not reach the next person.

import { cart, EMPTY } from './cart';
import { place, readPlace } from './place';
import { stored } from './store';

/** The id of who was signed in last; `null`: nobody since the storage was emptied. */
const owner = stored<string | null>('ftgo.owner', (found) => (typeof found === 'string' ? found : null));

/** Whether what `before` has left is not for `now`. What was chosen before anybody had signed in is for whoever does. */
export function isOfAnother(before: string | null, now: string): boolean {
  return before !== null && before !== now;
}

/** `id` is signed in: what somebody else has left is dropped. */
export function belongsTo(id: string): void {
  if (isOfAnother(owner.get(), id)) forget();
  owner.set(id);
}

/** Nothing is left to the next one: neither what was wanted nor where somebody lives. */
export function forget(): void {
  cart.set(EMPTY);
  place.set(readPlace(null));
  owner.set(null);
}
