// One order as it moves: its steps, its parts as far as they can be had, and what can still be done about it.

import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { MOST } from '../cart';
import { type Answer, ask, type Failure, failureAt } from '../graphql';
import { useLive } from '../live';
import { isLess, type Money, shown, sum } from '../money';
import { CANCEL_ORDER, ORDER, ORDER_CHANGED, type Order, REVISE_ORDER } from '../operations';
import { current, isOver, mayChange, standing, stateName, steps } from '../progress';
import { session } from '../session';
import { useStore } from '../store';
import { clock, when } from '../time';
import { announce, Failed, Live, Question, refocus, Stepper, Title, useOnce, Waiting } from '../ui';
import { NeedsSignIn } from './needs-sign-in';
import { Nowhere } from './nowhere';

interface Known {
  order: Order | null;
  failures: Failure[];
}

export function OrderView({ id }: { id: string }) {
  const who = useStore(session);
  if (who.state !== 'known' && who.state !== 'loading') return <NeedsSignIn title="Your order" />;
  return <Tracked key={id} id={id} />;
}

function Tracked({ id }: { id: string }) {
  const [known, setKnown] = useState<Known | null>(null);
  const said = useRef('');
  // The answers' paths begin with the name of their field: here all of them are the order's.
  const take = <Name extends string>(name: Name, { data, failures }: Answer<{ [name in Name]: Order | null }>) => {
    const order = data?.[name] ?? null;
    const relative = failures.map((failure) => ({ ...failure, path: failure.path.split('.').slice(1).join('.') }));
    // An order that was there is still shown when it cannot be read for once.
    setKnown((before) => ({ order: order ?? before?.order ?? null, failures: relative }));
  };
  const heard = useRef(0);
  const again = () => {
    const before = heard.current;
    ask(ORDER, { id }).then((answer) => {
      // What was heard live in the meantime is newer: every change is followed by a look at the order.
      if (heard.current === before) take('order', answer);
    });
  };
  useEffect(again, [id]);
  useLive(ORDER_CHANGED, known?.order && isOver(known.order) ? null : { id }, (answer) => {
    if (answer.data?.orderChanged) heard.current += 1;
    take('orderChanged', answer);
  });
  const order = known?.order ?? null;
  const now = order && standing(order);
  useEffect(() => {
    if (now && said.current && said.current !== now) announce(`Your order: ${now}.`);
    said.current = now ?? '';
  }, [now]);
  if (!known) return <Waiting what="Fetching your order" />;
  if (!order) {
    const failure = failureAt(known.failures, '');
    if (!failure || failure.code === 'NOT_FOUND') return <Nowhere what="There is no such order of yours." />;
    return (
      <>
        <Title name="Your order" />
        <Failed what="The order is not available." failure={failure} again={again} />
      </>
    );
  }
  const whole = known.failures.find(({ path }) => path === '');
  return (
    <article data-order-state={order.state}>
      <Title name={`Order from ${order.restaurantName}`} />
      <p class="lead">
        <strong class={`state ${order.state}`}>{now}</strong> <Promise order={order} />
      </p>
      {!isOver(order) && <Live again={again} />}
      {whole && <Failed what="This may be out of date." failure={whole} again={again} />}
      {order.rejectionReason && <p class="failed">Rejected: {order.rejectionReason}</p>}
      <div class="withAside">
        <div>
          <Steps order={order} />
          {known.failures.some(({ path }) => path === 'ticket' || path === 'delivery') && <p class="hint">It may be further than this: not all of it can be seen right now.</p>}
          <div class="parts">
            <Part name="Kitchen" failure={failureAt(known.failures, 'ticket')} again={again}>
              {order.ticket ? <Kitchen ticket={order.ticket} /> : 'Hears of it once it is approved.'}
            </Part>
            <Part name="Delivery" failure={failureAt(known.failures, 'delivery')} again={again}>
              {order.delivery ? <Delivery delivery={order.delivery} /> : 'No courier yet.'}
            </Part>
            <Part name="Bill" failure={failureAt(known.failures, 'bill')} again={again}>
              {order.bill ? <Bill bill={order.bill} /> : 'Nothing is charged yet.'}
            </Part>
          </div>
        </div>
        <Receipt order={order} failures={known.failures} again={again} />
      </div>
    </article>
  );
}

function Promise({ order: { state, ticket, delivery, deliveryTime } }: { order: Order }) {
  if (state !== 'APPROVED') return null;
  if (delivery?.deliveredAt) return <>at {when(delivery.deliveredAt)}</>;
  if (delivery?.scheduledDeliveryTime) return <>Arrives at about {when(delivery.scheduledDeliveryTime)}.</>;
  if (ticket?.readyBy) return <>Ready by {clock(ticket.readyBy)}.</>;
  if (deliveryTime) return <>Wanted at {when(deliveryTime)}.</>;
  return null;
}

function Steps({ order }: { order: Order }) {
  const all = steps(order);
  const now = current(all);
  const over = order.state === 'REJECTED' || order.state === 'CANCELLED';
  return (
    <ol class={over ? 'steps over' : 'steps'} aria-label="Progress">
      {all
        .filter(({ done }) => done || !over)
        .map(({ id, label, done, at }) => (
          <li key={id} data-step={id} data-done={done ? '' : undefined} aria-current={id === now.id && !over ? 'step' : undefined}>
            <span>{label}</span>
            {at && <time dateTime={at}>{when(at)}</time>}
            {!done && <span class="unseen"> (not yet)</span>}
          </li>
        ))}
      {over && (
        <li data-step="ended" data-done="" aria-current="step">
          <span>{stateName(order.state)}</span>
        </li>
      )}
    </ol>
  );
}

function Part({ name, failure, again, children }: { name: string; failure: Failure | undefined; again: () => void; children: ComponentChildren }) {
  const unavailable = failure && failure.path !== '';
  return (
    <section class="part" aria-label={name}>
      <h2>{name}</h2>
      {unavailable ? <Failed what="Not available right now." failure={failure} again={again} /> : <div>{children}</div>}
    </section>
  );
}

const TICKETS: Record<string, string> = {
  AWAITING_ACCEPTANCE: 'Has not accepted it yet.',
  ACCEPTED: 'Has accepted it.',
  PREPARING: 'Is cooking.',
  READY_FOR_PICKUP: 'Is done; it waits for the courier.',
  PICKED_UP: 'Is done; the courier has it.',
  CANCELLED: 'Called off.',
};

function Kitchen({ ticket }: { ticket: NonNullable<Order['ticket']> }) {
  return (
    <p>
      {TICKETS[ticket.state] ?? 'Is being asked.'} {ticket.readyBy && ticket.state !== 'PICKED_UP' && ticket.state !== 'CANCELLED' && <>Ready by {clock(ticket.readyBy)}.</>}
    </p>
  );
}

const DELIVERIES: Record<string, string> = {
  PENDING: 'A courier is being looked for.',
  SCHEDULED: 'Will bring it.',
  PICKED_UP: 'Is on the way to you.',
  DELIVERED: 'Has brought it.',
  CANCELLED: 'Called off.',
};

function Delivery({ delivery: { state, courier, scheduledDeliveryTime, deliveredAt } }: { delivery: NonNullable<Order['delivery']> }) {
  return (
    <p>
      {courier && <strong>{courier.name}: </strong>}
      {DELIVERIES[state] ?? 'Nothing is known.'}{' '}
      {deliveredAt ? <>At {when(deliveredAt)}.</> : scheduledDeliveryTime && state !== 'CANCELLED' && <>At about {when(scheduledDeliveryTime)}.</>}
    </p>
  );
}

function Bill({ bill: { state, amount } }: { bill: NonNullable<Order['bill']> }) {
  const words = state === 'AUTHORIZED' ? 'is authorized on your card.' : state === 'REVERSED' ? 'was released again.' : '';
  return (
    <p>
      {amount && <strong class="price">{shown(amount)}</strong>} {words}
    </p>
  );
}

interface Wish {
  id: string;
  name: string;
  price: Money | null;
  quantity: number;
}

function Receipt({ order, failures, again }: { order: Order; failures: Failure[]; again: () => void }) {
  const [editing, setEditing] = useState(false);
  const [asking, setAsking] = useState(false);
  const [failure, setFailure] = useState<{ what: string; failure: Failure } | null>(null);
  const [busy, once] = useOnce();
  const key = useRef<string | null>(null);
  const cancel = () => {
    setAsking(false);
    once(async () => {
      setFailure(null);
      key.current ??= crypto.randomUUID();
      const { data, failures } = await ask(CANCEL_ORDER, { id: order.id, key: key.current });
      if (data?.cancelOrder) announce('Your order is being cancelled.');
      else if (failures[0]) {
        setFailure({ what: 'It was not cancelled.', failure: failures[0] });
        if (failures[0].code !== 'UNREACHABLE') key.current = null;
      }
      again();
    });
  };
  const edit = () => {
    setEditing(true);
    refocus(order.lineItems[0]?.menuItemId ?? '');
  };
  const { deliveryAddress } = order;
  const addressFailure = failureAt(failures, 'deliveryAddress');
  return (
    <section class="receipt" aria-label="Your order">
      <h2>Your order</h2>
      {editing ? (
        <Change
          order={order}
          done={() => {
            setEditing(false);
            again();
            refocus('');
          }}
        />
      ) : (
        <>
          <ul class="lines">
            {order.lineItems.map(({ menuItemId, name, quantity, price }) => (
              <li key={menuItemId} data-item={menuItemId}>
                <span>
                  {quantity} × {name}
                </span>
                {price && <span class="price">{shown(sum([{ price, quantity }]))}</span>}
              </li>
            ))}
          </ul>
          <p class="total">
            <span>Total</span>
            <span class="price">{shown(order.total)}</span>
          </p>
          {deliveryAddress && (
            <p class="hint">
              To {[deliveryAddress.street1, deliveryAddress.street2, deliveryAddress.city].filter(Boolean).join(', ')}
            </p>
          )}
          {addressFailure && addressFailure.path !== '' && <Failed what="The address is not available." failure={addressFailure} />}
          {failure && <Failed {...failure} />}
          {mayChange(order) && (
            <div class="choices">
              <button type="button" class="quiet" disabled={busy} onClick={edit}>
                Change order
              </button>
              <button type="button" class="quiet danger" disabled={busy} aria-busy={busy} onClick={() => setAsking(true)}>
                {busy ? 'Cancelling …' : 'Cancel order'}
              </button>
            </div>
          )}
        </>
      )}
      {asking && (
        <Question title="Cancel this order?" yes="Cancel the order" no="Keep it" onYes={cancel} onNo={() => setAsking(false)}>
          <p>Your card is not charged. The kitchen has the last word if it has begun.</p>
        </Question>
      )}
    </section>
  );
}

function Change({ order, done }: { order: Order; done: () => void }) {
  const [wishes, setWishes] = useState<Wish[]>(() => order.lineItems.map(({ menuItemId, ...item }) => ({ ...item, id: menuItemId })));
  const [failure, setFailure] = useState<Failure | null>(null);
  const [busy, once] = useOnce();
  const attempt = useRef<{ what: string; key: string } | null>(null);
  const items = order.restaurant?.menu.items ?? [];
  const others = items.filter(({ id }) => !wishes.some((wish) => wish.id === id));
  const minimum = order.restaurant?.orderMinimum;
  const priced = wishes.flatMap(({ price, quantity }) => (price ? [{ price, quantity }] : []));
  const total = priced.length === wishes.length ? sum(priced) : null;
  const wanted = wishes.filter(({ quantity }) => quantity > 0);
  const short = Boolean(total && minimum && isLess(total, minimum));
  const step = (id: string, by: number) =>
    setWishes(wishes.map((wish) => (wish.id === id ? { ...wish, quantity: Math.max(0, Math.min(MOST, wish.quantity + by)) } : wish)));
  const send = (event: Event) => {
    event.preventDefault();
    once(async () => {
      setFailure(null);
      const lineItems = wanted.map(({ id, quantity }) => ({ menuItemId: id, quantity }));
      const what = JSON.stringify(lineItems);
      if (attempt.current?.what !== what) attempt.current = { what, key: crypto.randomUUID() };
      const { data, failures } = await ask(REVISE_ORDER, { input: { orderId: order.id, lineItems, idempotencyKey: attempt.current.key } });
      if (data?.reviseOrder) {
        announce('The change is on its way.');
        done();
      } else setFailure(failures[0] ?? null);
    });
  };
  return (
    <form onSubmit={send} aria-label="Change order" aria-busy={busy}>
      <ul class="lines">
        {wishes.map(({ id, name, quantity, price }) => (
          <li key={id} data-item={id}>
            <span>{name}</span>
            <Stepper name={name} quantity={quantity} step={(by) => step(id, by)} />
            {price && <span class="price">{shown(sum([{ price, quantity }]))}</span>}
          </li>
        ))}
      </ul>
      {others.length > 0 && (
        <label>
          Add from the menu
          <select
            value=""
            onChange={(event) => {
              const item = others.find(({ id }) => id === event.currentTarget.value);
              if (item) setWishes([...wishes, { ...item, quantity: 1 }]);
            }}
          >
            <option value="">Choose …</option>
            {others.map(({ id, name, price }) => (
              <option key={id} value={id}>
                {name}, {shown(price)}
              </option>
            ))}
          </select>
        </label>
      )}
      {total && (
        <p class="total">
          <span>New total</span>
          <span class="price">{shown(total)}</span>
        </p>
      )}
      {short && minimum && <p class="hint">Orders here start at {shown(minimum)}.</p>}
      {failure && <Failed what="The order was not changed." failure={failure} />}
      <div class="choices">
        <button type="button" class="quiet" disabled={busy} onClick={done}>
          Leave as it is
        </button>
        <button type="submit" disabled={busy || short || wanted.length === 0} aria-busy={busy}>
          {busy ? 'Sending …' : 'Send change'}
        </button>
      </div>
    </form>
  );
}
