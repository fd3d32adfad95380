// What the views count on, without a browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attempted, changed, count, EMPTY, MOST, readCart, total } from './cart';
import { failureAt, failureOf } from './graphql';
import { cents, isLess, money, shown, sum } from './money';
import type { Order, Ticket } from './operations';
import { pauseAfter } from './pause';
import { AREAS, areaOf, placeIn, readPlace, wanted } from './place';
import { current, isOver, mayChange, steps } from './progress';
import { isOfAnother } from './owner';
import { routeOf } from './router';
import { boardOf, inColumn, withTicket } from './tickets';
import { relative } from './time';

const usd = (amount: string) => ({ amount, currency: 'USD' });
const SHOP = { id: 'restaurant-1', name: 'One', minimum: usd('10.00') };
const SOUP = { id: 'soup', name: 'Soup', price: usd('4.10') };

test('money is added up exactly', () => {
  assert.equal(cents('61.70'), 6170n);
  assert.equal(cents('61.7'), 6170n);
  assert.equal(cents('7'), 700n);
  assert.equal(cents('-0.05'), -5n);
  assert.equal(cents('1.5000'), 150n);
  assert.throws(() => cents('1,50'));
  assert.throws(() => cents(''));
  assert.deepEqual(money(5n, 'USD'), usd('0.05'));
  assert.deepEqual(money(-1234n, 'USD'), usd('-12.34'));
  const dimes = Array.from({ length: 3 }, () => ({ price: usd('0.10'), quantity: 1 }));
  assert.deepEqual(sum(dimes), usd('0.30'));
  assert.ok(isLess(usd('9.99'), usd('10.00')));
  assert.ok(!isLess(usd('10.00'), usd('10')));
  assert.equal(shown(usd('61.70')), '$61.70');
  assert.equal(shown({ amount: '5.00', currency: 'EUR' }), 'EUR 5.00');
});

test('a cart holds what was added, of one restaurant', () => {
  let cart = changed(EMPTY, SHOP, SOUP, 1);
  cart = changed(cart, SHOP, SOUP, 2);
  cart = changed(cart, SHOP, { ...SOUP, id: 'bread', price: usd('1.00') }, 1);
  assert.equal(count(cart), 4);
  assert.deepEqual(total(cart), usd('13.30'));
  assert.equal(changed(cart, SHOP, SOUP, 1000).lines[0]?.quantity, MOST);
  const other = changed(cart, { ...SHOP, id: 'restaurant-2' }, SOUP, 1);
  assert.equal(count(other), 1);
  cart = changed(cart, SHOP, SOUP, -3);
  assert.deepEqual(cart.lines.map(({ id }) => id), ['bread']);
  assert.deepEqual(changed(cart, SHOP, { ...SOUP, id: 'bread' }, -1), EMPTY);
  assert.equal(changed(EMPTY, SHOP, SOUP, -1), EMPTY);
});

test('the same order has the same name for every try, and another order another', () => {
  let names = 0;
  const fresh = () => `name-${++names}`;
  const first = attempted(changed(EMPTY, SHOP, SOUP, 1), 'one soup at eight', 'at eight', fresh);
  // By then it is past eight; it may have been placed already.
  const late = attempted(first, 'one soup at eight', 'now', fresh);
  assert.deepEqual(late.attempt, { key: 'name-1', what: 'one soup at eight', sent: 'at eight' });
  const more = changed(first, SHOP, SOUP, 1);
  assert.deepEqual(attempted(more, 'two soups', 'now', fresh).attempt, { key: 'name-2', what: 'two soups', sent: 'now' });
});

test('what somebody has left is not the next one’s, but what nobody had is', () => {
  assert.ok(isOfAnother('anna', 'bert'));
  assert.ok(!isOfAnother('anna', 'anna'));
  assert.ok(!isOfAnother(null, 'anna'));
});

test('what is found in the storage is a cart or none', () => {
  const cart = changed(EMPTY, SHOP, SOUP, 2);
  assert.deepEqual(readCart(JSON.parse(JSON.stringify(cart))), cart);
  for (const found of [null, 7, {}, { restaurant: SHOP }, { restaurant: SHOP, lines: [] }, { restaurant: SHOP, lines: [{ id: 1 }] }]) {
    assert.equal(readCart(found), EMPTY);
  }
  // What cannot be added up would break every page that shows it.
  assert.equal(readCart({ ...cart, restaurant: { ...SHOP, minimum: undefined } }), EMPTY);
  assert.equal(readCart({ ...cart, lines: cart.lines.map((line) => ({ ...line, price: { amount: 'much', currency: 'USD' } })) }), EMPTY);
});

test('a place has all of its fields, and a time only while it is ahead', () => {
  const first = AREAS[0];
  assert.ok(first);
  assert.deepEqual(readPlace(null), placeIn(first));
  assert.equal(readPlace({ zip: '94607', city: 3 }).zip, '94607');
  assert.equal(readPlace({ zip: '94607', city: 3 }).city, first.city);
  assert.equal(areaOf({ ...placeIn(first), area: 'the moon' }), first);
  const at = { ...placeIn(first), at: '2026-11-22T12:00' };
  const noon = Date.parse('2026-11-22T12:00');
  assert.equal(wanted(at, noon + 1), null);
  assert.equal(wanted(at, noon - 1), new Date(noon).toISOString());
  assert.equal(wanted({ ...at, at: 'soon' }, 0), null);
});

const ORDER = { state: 'APPROVED', createdAt: '2026-11-22T12:00:00Z', ticket: null, delivery: null } as unknown as Order;
const at = (order: Order) => current(steps(order)).id;

test('an order is as far as its parts say, and a missing part takes nothing back that another knows', () => {
  const ticket = (state: string) => ({ state, acceptedAt: null, preparingAt: null, readyForPickupAt: null, pickedUpAt: null, readyBy: null });
  const of = (state: string) => ({ ...ORDER, ticket: ticket(state) }) as Order;
  assert.equal(at({ ...ORDER, state: 'APPROVAL_PENDING' }), 'placed');
  assert.equal(at(ORDER), 'approved');
  assert.equal(at(of('AWAITING_ACCEPTANCE')), 'approved');
  assert.equal(at(of('ACCEPTED')), 'accepted');
  assert.equal(at(of('PREPARING')), 'preparing');
  assert.equal(at(of('READY_FOR_PICKUP')), 'ready');
  const delivered = { ...ORDER, delivery: { state: 'DELIVERED' } } as Order;
  assert.equal(at(delivered), 'delivered');
  assert.ok(steps(delivered).every(({ done }) => done));
  assert.ok(isOver(delivered) && isOver({ ...ORDER, state: 'REJECTED' }) && !isOver(ORDER));
  assert.ok(mayChange(of('AWAITING_ACCEPTANCE')) && mayChange(ORDER));
  assert.ok(!mayChange(of('PREPARING')) && !mayChange({ ...ORDER, state: 'CANCELLED' }));
});

test('tickets are where they belong, and leave when they are gone', () => {
  const ticket = (id: string, state: string, readyBy: string | null = null) =>
    ({ id, state, readyBy, createdAt: `2026-11-22T12:00:0${id}Z`, lineItems: [] }) as unknown as Ticket;
  let board = boardOf([ticket('2', 'AWAITING_ACCEPTANCE'), ticket('1', 'AWAITING_ACCEPTANCE'), ticket('3', 'CANCELLED')]);
  assert.deepEqual(inColumn(board, 'AWAITING_ACCEPTANCE').map(({ id }) => id), ['1', '2']);
  board = withTicket(board, ticket('1', 'ACCEPTED', '2026-11-22T12:30:00Z'));
  assert.deepEqual(inColumn(board, 'AWAITING_ACCEPTANCE').map(({ id }) => id), ['2']);
  assert.deepEqual(inColumn(board, 'ACCEPTED').map(({ id }) => id), ['1']);
  assert.equal(withTicket(board, ticket('1', 'PICKED_UP')).size, 1);
});

test('paths name views', () => {
  assert.deepEqual(routeOf('/'), { view: 'restaurants' });
  assert.deepEqual(routeOf('/restaurants/a%2Fb'), { view: 'restaurant', id: 'a/b' });
  assert.deepEqual(routeOf('/orders/'), { view: 'orders' });
  assert.deepEqual(routeOf('/kitchen/restaurant-1'), { view: 'kitchen', restaurant: 'restaurant-1' });
  for (const path of ['/else', '/restaurants', '/orders/1/2', '/checkout/1', '/orders/%']) {
    assert.deepEqual(routeOf(path), { view: 'nowhere' }, path);
  }
});

test('tries come further and further apart, never all at once, and never too far', () => {
  assert.equal(pauseAfter(0, () => 0), 500);
  assert.equal(pauseAfter(0, () => 1), 250);
  assert.equal(pauseAfter(3, () => 0), 4000);
  assert.equal(pauseAfter(1000, () => 0), 15_000);
});

test('a failure is found at its field and at what is in it', () => {
  const failure = failureOf({ message: 'Late.', path: ['order', 'ticket'], extensions: { code: 'UPSTREAM_TIMEOUT', reason: 'timeout' } });
  assert.equal(failure.path, 'order.ticket');
  assert.equal(failureAt([failure], 'order.ticket'), failure);
  assert.equal(failureAt([failure], 'order.ticket.state'), failure);
  assert.equal(failureAt([failure], 'order.ticketing'), undefined);
  assert.equal(failureAt([failure], 'order'), undefined);
  assert.equal(failureOf({}).code, 'UNKNOWN');
  const whole = failureOf({ extensions: { code: 'FORBIDDEN' } });
  assert.equal(failureAt([whole], 'anything'), whole);
});

test('times are said in words', () => {
  const now = Date.parse('2026-11-22T12:00:00Z');
  assert.equal(relative('2026-11-22T12:12:10Z', now), 'in 12 min');
  assert.equal(relative('2026-11-22T11:57:00Z', now), '3 min ago');
  assert.equal(relative('2026-11-22T12:00:20Z', now), 'just now');
  assert.equal(relative('2026-11-22T15:00:00Z', now), 'in 3 h');
});
