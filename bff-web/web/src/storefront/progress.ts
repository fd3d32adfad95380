// How far an order has come: seven steps, made of what order, ticket and delivery say. Parts that are missing leave out what
// only they know.

import type { Order } from './operations';

export interface Step {
  id: 'placed' | 'approved' | 'accepted' | 'preparing' | 'ready' | 'picked-up' | 'delivered';
  label: string;
  done: boolean;
  /** When it was done, as far as somebody says. */
  at: string | null;
}

/** What the steps are made of: orders of a list have it, too. */
export interface Standing {
  state: Order['state'];
  createdAt: string;
  ticket: Pick<NonNullable<Order['ticket']>, 'state' | 'acceptedAt' | 'preparingAt' | 'readyForPickupAt' | 'pickedUpAt'> | null;
  delivery: Pick<NonNullable<Order['delivery']>, 'state' | 'pickedUpAt' | 'deliveredAt'> | null;
}

/** Nothing more happens to it. */
export function isOver({ state, delivery }: Pick<Standing, 'state' | 'delivery'>): boolean {
  return state === 'REJECTED' || state === 'CANCELLED' || delivery?.state === 'DELIVERED';
}

export function steps({ state, createdAt, ticket, delivery }: Standing): Step[] {
  const delivered = delivery?.state === 'DELIVERED';
  const pickedUp = delivered || delivery?.state === 'PICKED_UP' || ticket?.state === 'PICKED_UP';
  const ready = pickedUp || ticket?.state === 'READY_FOR_PICKUP';
  const preparing = ready || ticket?.state === 'PREPARING';
  const accepted = preparing || ticket?.state === 'ACCEPTED' || Boolean(ticket?.acceptedAt);
  const approved = accepted || state === 'APPROVED' || state === 'CANCEL_PENDING' || state === 'REVISION_PENDING';
  return [
    { id: 'placed', label: 'Placed', done: true, at: createdAt },
    { id: 'approved', label: 'Approved', done: approved, at: null },
    { id: 'accepted', label: 'Accepted by the kitchen', done: accepted, at: ticket?.acceptedAt ?? null },
    { id: 'preparing', label: 'Being prepared', done: preparing, at: ticket?.preparingAt ?? null },
    { id: 'ready', label: 'Ready for pickup', done: ready, at: ticket?.readyForPickupAt ?? null },
    { id: 'picked-up', label: 'On its way', done: pickedUp, at: delivery?.pickedUpAt ?? ticket?.pickedUpAt ?? null },
    { id: 'delivered', label: 'Delivered', done: delivered, at: delivery?.deliveredAt ?? null },
  ];
}

/** The last step that is done. */
export function current(all: readonly Step[]): Step {
  return all.findLast(({ done }) => done) ?? (all[0] as Step);
}

const STATES: Record<string, string> = {
  APPROVAL_PENDING: 'Waiting for approval',
  APPROVED: 'Approved',
  REJECTED: 'Rejected',
  CANCEL_PENDING: 'Being cancelled',
  CANCELLED: 'Cancelled',
  REVISION_PENDING: 'Being changed',
};

export function stateName(state: string): string {
  return STATES[state] ?? 'In an unknown state';
}

/** Where an order is, in words: as far as its parts say, when it is approved. */
export function standing(order: Standing): string {
  return order.state === 'APPROVED' ? current(steps(order)).label : stateName(order.state);
}

/** Whether it may still be cancelled or changed, as far as is known: the services have the last word. */
export function mayChange({ state, ticket }: Pick<Standing, 'state' | 'ticket'>): boolean {
  const early = !ticket || ticket.state === 'AWAITING_ACCEPTANCE' || ticket.state === 'ACCEPTED';
  return state === 'APPROVED' && early;
}
