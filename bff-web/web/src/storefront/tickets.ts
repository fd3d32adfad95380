// The kitchen's board: which tickets it shows, and where each one belongs.

import type { Ticket } from './operations';

export const COLUMNS = [
  { state: 'AWAITING_ACCEPTANCE', title: 'New', empty: 'Nothing new.' },
  { state: 'ACCEPTED', title: 'Accepted', empty: 'Nothing to begin.' },
  { state: 'PREPARING', title: 'Preparing', empty: 'Nothing on the stove.' },
  { state: 'READY_FOR_PICKUP', title: 'Ready', empty: 'Nothing waits.' },
] as const;

export type Column = (typeof COLUMNS)[number]['state'];

export type Board = ReadonlyMap<string, Ticket>;

function isShown({ state }: Ticket): boolean {
  return COLUMNS.some((column) => column.state === state);
}

/** The board with a ticket as it is now; one that is nobody's business any more leaves. */
export function withTicket(board: Board, ticket: Ticket): Board {
  const next = new Map(board);
  if (isShown(ticket)) next.set(ticket.id, ticket);
  else next.delete(ticket.id);
  return next;
}

export function boardOf(tickets: readonly Ticket[]): Board {
  return new Map(tickets.filter(isShown).map((ticket) => [ticket.id, ticket]));
}

/** A column's tickets, the most urgent first. */
export function inColumn(board: Board, column: Column): Ticket[] {
  const urgency = ({ readyBy, createdAt }: Ticket) => Date.parse(readyBy ?? createdAt);
  return [...board.values()].filter(({ state }) => state === column).sort((one, other) => urgency(one) - urgency(other) || one.id.localeCompare(other.id));
}

export function summary({ lineItems }: Ticket): string {
  return lineItems.map(({ name, quantity }) => `${quantity} ${name}`).join(', ');
}
