// What somebody is about to order. It is kept in the browser, so that it outlives the page and the session.

import { isMoney, type Money, sum } from './money';
import { stored } from './store';

export interface Line {
  id: string;
  name: string;
  price: Money;
  quantity: number;
}

export interface Cart {
  restaurant: { id: string; name: string; minimum: Money } | null;
  lines: Line[];
  attempt: Attempt | null;
}

/** That it was tried to place the cart: the same order twice is one order. */
export interface Attempt {
  /** The name of it, for the services. */
  key: string;
  /** What the person wanted, as they said it. */
  what: string;
  /** What was sent for it. It is what is sent again: "at eight" is still the same order when it is past eight. */
  sent: string;
}

export const EMPTY: Cart = { restaurant: null, lines: [], attempt: null };

/** More than this of one thing is a matter for a telephone. */
export const MOST = 50;

export function readCart(found: unknown): Cart {
  const cart = found as Cart | null;
  const isCart =
    cart?.restaurant &&
    typeof cart.restaurant.id === 'string' &&
    isMoney(cart.restaurant.minimum) &&
    Array.isArray(cart.lines) &&
    cart.lines.length > 0 &&
    cart.lines.every(({ id, price, quantity }) => typeof id === 'string' && isMoney(price) && Number.isInteger(quantity));
  return isCart ? cart : EMPTY;
}

export const cart = stored<Cart>('ftgo.cart', readCart);

/** So much more, or less, of something. What is not wanted any more leaves no line, and an empty cart no restaurant. */
export function changed(cart: Cart, restaurant: NonNullable<Cart['restaurant']>, item: Omit<Line, 'quantity'>, by: number): Cart {
  const same = cart.restaurant?.id === restaurant.id;
  const lines = same ? [...cart.lines] : [];
  const at = lines.findIndex(({ id }) => id === item.id);
  const quantity = Math.min(MOST, (lines[at]?.quantity ?? 0) + by);
  if (quantity > 0) {
    lines.splice(at < 0 ? lines.length : at, at < 0 ? 0 : 1, { ...item, quantity });
  } else if (at >= 0) {
    lines.splice(at, 1);
  }
  return lines.length > 0 ? { restaurant, lines, attempt: same ? cart.attempt : null } : EMPTY;
}

export function count({ lines }: Cart): number {
  return lines.reduce((sum, { quantity }) => sum + quantity, 0);
}

export function total({ lines }: Cart): Money {
  return sum(lines);
}

/** The cart with an attempt to place `what`, by sending `sent`: the one it has, unless that was for something else. */
export function attempted(cart: Cart, what: string, sent: string, fresh: () => string): Cart & { attempt: Attempt } {
  const attempt = cart.attempt?.what === what ? cart.attempt : { key: fresh(), what, sent };
  return { ...cart, attempt };
}
