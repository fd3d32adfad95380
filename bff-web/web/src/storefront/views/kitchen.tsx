// The board of a restaurant's staff: tickets come and move by themselves, and one button does what is next.

import { useEffect, useRef, useState } from 'preact/hooks';
import { type Answer, ask, type Document, type Failure, failureAt } from '../graphql';
import { useLive } from '../live';
import { useAnswer } from '../loading';
import { ACCEPT, KITCHENS, PREPARING, READY, TICKETS, TICKETS_CHANGED, type Ticket } from '../operations';
import { go } from '../router';
import { has, session } from '../session';
import { useStore } from '../store';
import { type Board, boardOf, COLUMNS, type Column, inColumn, summary, withTicket } from '../tickets';
import { clock, relative } from '../time';
import { announce, Failed, Live, Title, useNow, useOnce, Waiting } from '../ui';
import { NeedsSignIn } from './needs-sign-in';
import { Nowhere } from './nowhere';

export function Kitchen({ restaurant }: { restaurant: string | null }) {
  const who = useStore(session);
  if (who.state === 'loading') return <Waiting what="Opening the kitchen" />;
  if (who.state !== 'known') return <NeedsSignIn title="Kitchen" />;
  if (!has(who, 'staff')) return <Nowhere what="The kitchen is for the restaurants’ staff." />;
  return <Kitchens chosen={restaurant} ids={who.viewer.restaurantIds} />;
}

function Kitchens({ chosen, ids }: { chosen: string | null; ids: readonly string[] }) {
  const { answer } = useAnswer(KITCHENS, {});
  const id = chosen ?? ids[0];
  if (!id || !ids.includes(id)) return <Nowhere what="You do not work for that restaurant." />;
  // Without their names the restaurants are still there.
  const nameOf = (id: string) => answer?.data?.me?.restaurants?.find((restaurant) => restaurant.id === id)?.name ?? id;
  const failure = answer && failureAt(answer.failures, 'me.restaurants');
  return (
    <>
      <Title name="Kitchen" />
      <form class="where" aria-label="Restaurant" onSubmit={(event) => event.preventDefault()}>
        <label>
          Restaurant
          <select value={id} onChange={(event) => go(`/kitchen/${encodeURIComponent(event.currentTarget.value)}`)}>
            {ids.map((id) => (
              <option key={id} value={id}>
                {nameOf(id)}
              </option>
            ))}
          </select>
        </label>
      </form>
      {failure && <Failed what="The restaurants’ names are not available." failure={failure} />}
      <TicketBoard key={id} id={id} />
    </>
  );
}

/** All tickets of a state: pages of fifty, as many as there are. */
async function all(restaurantId: string, state: Column): Promise<{ tickets: Ticket[]; failure: Failure | undefined }> {
  const tickets: Ticket[] = [];
  let after: string | null = null;
  do {
    const { data, failures }: Answer<{ tickets: { nodes: Ticket[]; pageInfo: { hasNextPage: boolean; endCursor: string | null } } | null }> = await ask(TICKETS, {
      restaurantId,
      state,
      after,
    });
    if (!data?.tickets) return { tickets, failure: failures[0] };
    tickets.push(...data.tickets.nodes);
    after = data.tickets.pageInfo.hasNextPage ? data.tickets.pageInfo.endCursor : null;
  } while (after);
  return { tickets, failure: undefined };
}

function TicketBoard({ id }: { id: string }) {
  const [board, setBoard] = useState<Board | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  const reading = useRef(0);
  // What was heard while the lists were being read: it is newer than they are.
  const heard = useRef<Ticket[] | null>(null);
  const now = useNow();
  const read = async () => {
    reading.current += 1;
    const turn = reading.current;
    heard.current = [];
    const lists = await Promise.all(COLUMNS.map(({ state }) => all(id, state)));
    // What was asked for later is newer.
    if (turn !== reading.current) return;
    const failed = lists.find(({ failure }) => failure)?.failure;
    const newer = heard.current ?? [];
    heard.current = null;
    setFailure(failed ?? null);
    if (!failed) setBoard(newer.reduce(withTicket, boardOf(lists.flatMap(({ tickets }) => tickets))));
  };
  const take = (ticket: Ticket) => {
    heard.current?.push(ticket);
    if (board && !board.has(ticket.id) && ticket.state === 'AWAITING_ACCEPTANCE') announce(`New ticket: ${summary(ticket)}.`);
    setBoard((before) => before && withTicket(before, ticket));
  };
  useEffect(() => {
    read();
    return () => {
      reading.current += 1;
    };
  }, [id]);
  useLive(TICKETS_CHANGED, { restaurantId: id }, ({ data, failures }) => {
    if (data?.ticketsChanged?.ticket) {
      take(data.ticketsChanged.ticket);
    } else if (failures.length === 0 || data?.ticketsChanged) read();
    else setFailure(failures[0] ?? null);
  });
  return (
    <>
      <Live again={read} />
      {failure && <Failed what="The tickets are not available." failure={failure} again={read} />}
      {!board && !failure && <Waiting what="Fetching the tickets" />}
      {board && (
        <div class="board">
          {COLUMNS.map(({ state, title, empty }) => {
            const tickets = inColumn(board, state);
            return (
              <section key={state} aria-label={title} class={`column ${state}`}>
                <h2>
                  {title} <span class="count">{tickets.length}</span>
                </h2>
                {tickets.length === 0 && <p class="hint">{empty}</p>}
                {tickets.map((ticket) => (
                  <TicketCard key={ticket.id} ticket={ticket} now={now} take={take} read={read} />
                ))}
              </section>
            );
          })}
        </div>
      )}
    </>
  );
}

/** The ticket that was moved last, from here: the focus goes with it into the next column. */
let moved: string | null = null;

const MINUTES = [10, 15, 20, 30, 45, 60];

function TicketCard({ ticket, now, take, read }: { ticket: Ticket; now: number; take: (ticket: Ticket) => void; read: () => void }) {
  const [minutes, setMinutes] = useState(20);
  const [failure, setFailure] = useState<Failure | null>(null);
  const [busy, once] = useOnce();
  const card = useRef<HTMLElement>(null);
  useEffect(() => {
    if (moved !== ticket.id) return;
    moved = null;
    (card.current?.querySelector<HTMLElement>('button') ?? card.current)?.focus();
  }, [ticket.id]);
  const move = <Name extends string, Variables>(document: Document<{ [name in Name]: Ticket | null }, Variables>, variables: Variables, name: Name, said: string) =>
    once(async () => {
      setFailure(null);
      // It may be heard of, and be in its next column, before it is answered.
      moved = ticket.id;
      const { data, failures } = await ask(document, variables);
      const now = data?.[name];
      if (now) {
        take(now);
        announce(`${said}: ${summary(now)}.`);
      } else {
        moved = null;
        setFailure(failures[0] ?? null);
        // Somebody else may have moved it.
        read();
      }
    });
  const { id, state, readyBy, readyForPickupAt, createdAt, lineItems } = ticket;
  const late = readyBy !== null && Date.parse(readyBy) < now && state !== 'READY_FOR_PICKUP';
  const due = readyForPickupAt
    ? `done ${clock(readyForPickupAt)} · ${relative(readyForPickupAt, now)}`
    : readyBy
      ? `${late ? 'was due' : 'ready'} ${clock(readyBy)} · ${relative(readyBy, now)}`
      : relative(createdAt, now);
  return (
    <article ref={card} tabIndex={-1} class="ticket" data-ticket={id} data-state={state} aria-label={`Ticket ${id.slice(-4)}`} aria-busy={busy}>
      <header>
        <span class="number">#{id.slice(-4)}</span>
        <span class={late ? 'due late' : 'due'}>{due}</span>
      </header>
      <ul>
        {lineItems.map(({ menuItemId, name, quantity }) => (
          <li key={menuItemId}>
            <b>{quantity}</b> {name}
          </li>
        ))}
      </ul>
      {failure && <Failed what="That did not work." failure={failure} />}
      {state === 'AWAITING_ACCEPTANCE' && (
        <div class="choices">
          <label>
            Ready in
            <select value={minutes} onChange={(event) => setMinutes(Number(event.currentTarget.value))}>
              {MINUTES.map((minutes) => (
                <option key={minutes} value={minutes}>
                  {minutes} min
                </option>
              ))}
            </select>
          </label>
          <button
            type="button"
            disabled={busy}
            onClick={() => move(ACCEPT, { id, readyBy: new Date(Date.now() + minutes * 60_000).toISOString() }, 'acceptTicket', 'Accepted')}
          >
            Accept
          </button>
        </div>
      )}
      {state === 'ACCEPTED' && (
        <button type="button" disabled={busy} onClick={() => move(PREPARING, { id }, 'markPreparing', 'Preparing')}>
          Start preparing
        </button>
      )}
      {state === 'PREPARING' && (
        <button type="button" disabled={busy} onClick={() => move(READY, { id }, 'markReady', 'Ready')}>
          Ready for pickup
        </button>
      )}
    </article>
  );
}
