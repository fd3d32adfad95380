// The cart as a whole, where it goes, and placing it: once, however often the button is pressed or the page is loaded again.

import { useState } from 'preact/hooks';
import { attempted, cart, changed, count, EMPTY, total } from '../cart';
import { ask, type Failure } from '../graphql';
import { isLess, shown, sum } from '../money';
import { PLACE_ORDER } from '../operations';
import { type Place, place, wanted } from '../place';
import { go, Link } from '../router';
import { has, session, signInUrl } from '../session';
import { useStore } from '../store';
import { announce, Failed, refocus, Stepper, Title, useOnce } from '../ui';
import { When } from './restaurants';

const FIELDS: readonly { name: Exclude<keyof Place, 'area' | 'at'>; label: string; autocomplete: string; optional?: true }[] = [
  { name: 'street1', label: 'Street', autocomplete: 'address-line1' },
  { name: 'street2', label: 'Apartment or floor (optional)', autocomplete: 'address-line2', optional: true },
  { name: 'city', label: 'City', autocomplete: 'address-level2' },
  { name: 'state', label: 'State', autocomplete: 'address-level1' },
  { name: 'zip', label: 'ZIP', autocomplete: 'postal-code' },
];

export function Checkout() {
  const order = useStore(cart);
  const here = useStore(place);
  const who = useStore(session);
  const [busy, once] = useOnce();
  const [failure, setFailure] = useState<Failure | null>(null);
  const { restaurant } = order;
  if (!restaurant) {
    return (
      <>
        <Title name="Checkout" />
        <p class="empty">
          Your cart is empty. <Link to="/">Find a restaurant</Link>
        </p>
      </>
    );
  }
  const short = isLess(total(order), restaurant.minimum);
  const submit = (event: Event) => {
    event.preventDefault();
    once(async () => {
      setFailure(null);
      const { street1, street2, city, state, zip } = here;
      const at = wanted(here);
      const wish = {
        restaurantId: restaurant.id,
        lineItems: order.lines.map(({ id, quantity }) => ({ menuItemId: id, quantity })),
        deliveryAddress: { street1, city, state, zip, ...(street2.trim() ? { street2 } : {}) },
      };
      const input = { ...wish, ...(at ? { deliveryTime: at } : {}) };
      // Kept before it is sent: if the answer is lost, the next try is still the same order.
      const trying = attempted(cart.get(), JSON.stringify([wish, here.at]), JSON.stringify(input), () => crypto.randomUUID());
      cart.set(trying);
      const { key, sent } = trying.attempt;
      const { data, failures } = await ask(PLACE_ORDER, { input: { ...(JSON.parse(sent) as typeof input), idempotencyKey: key } });
      const placed = data?.placeOrder;
      if (!placed) {
        const failure = failures[0] ?? null;
        setFailure(failure);
        // It was looked at and turned down: what is sent next is another attempt.
        if (failure && failure.faults.length > 0) cart.set({ ...cart.get(), attempt: null });
        return;
      }
      cart.set(EMPTY);
      announce('Your order is placed.');
      go(`/orders/${encodeURIComponent(placed.orderId)}`);
    });
  };
  const mayOrder = has(who, 'consumer');
  return (
    <>
      <Title name="Checkout" />
      <form class="withAside" onSubmit={submit} aria-busy={busy}>
        <div>
          <fieldset disabled={busy}>
            <legend>Where to, and when</legend>
            <div class="fields">
              {FIELDS.map(({ name, label, autocomplete, optional }) => (
                <label key={name} class={`field-${name}`}>
                  {label}
                  <input
                    name={name}
                    value={here[name]}
                    required={!optional}
                    autocomplete={autocomplete}
                    onInput={(event) => place.set({ ...place.get(), [name]: event.currentTarget.value })}
                  />
                </label>
              ))}
              <When />
            </div>
          </fieldset>
        </div>
        <section class="receipt" aria-label="Your order">
          <h2>{restaurant.name}</h2>
          <ul class="lines">
            {order.lines.map((line) => (
              <li key={line.id} data-item={line.id}>
                <span>{line.name}</span>
                <Stepper
                  name={line.name}
                  quantity={line.quantity}
                  step={(by) => {
                    const next = changed(cart.get(), restaurant, line, by);
                    cart.set(next);
                    announce(`${count(next)} in the cart, total ${shown(total(next))}`);
                    refocus(line.id);
                  }}
                />
                <span class="price">{shown(sum([line]))}</span>
              </li>
            ))}
          </ul>
          <p class="total">
            <span>Total</span>
            <span class="price">{shown(total(order))}</span>
          </p>
          {short && <p class="hint">Orders here start at {shown(restaurant.minimum)}.</p>}
          {failure && <Failed what="Your order was not placed." failure={failure} />}
          {mayOrder ? (
            <button type="submit" disabled={busy || short} aria-busy={busy}>
              {busy ? 'Placing your order …' : 'Place order'}
            </button>
          ) : who.state === 'known' ? (
            <p class="hint">Only consumers can order.</p>
          ) : (
            <a class="button" href={signInUrl()}>
              Sign in to order
            </a>
          )}
          <p class="hint">
            Prices are the restaurant’s. <Link to={`/restaurants/${encodeURIComponent(restaurant.id)}`}>Back to the menu</Link>
          </p>
        </section>
      </form>
    </>
  );
}
