// A restaurant's menu, and what somebody takes from it.

import { useState } from 'preact/hooks';
import { type Cart, cart, changed, count, type Line, total } from '../cart';
import { Cover } from '../cover';
import { failureAt } from '../graphql';
import { useAnswer } from '../loading';
import { isLess, shown, sum } from '../money';
import { RESTAURANT } from '../operations';
import { Link } from '../router';
import { useStore } from '../store';
import { announce, Failed, Question, refocus, Stepper, Title, Waiting } from '../ui';
import { Nowhere } from './nowhere';

type Shop = NonNullable<Cart['restaurant']>;
type Item = Omit<Line, 'quantity'>;

export function Restaurant({ id }: { id: string }) {
  const { answer, again } = useAnswer(RESTAURANT, { id });
  const inCart = useStore(cart);
  const [other, setOther] = useState<Item | null>(null);
  if (!answer) return <Waiting what="Fetching the menu" />;
  const restaurant = answer.data?.restaurant;
  const failure = failureAt(answer.failures, 'restaurant');
  if (!restaurant) {
    if (!failure) return <Nowhere what="There is no such restaurant." />;
    return (
      <>
        <Title name="Restaurant" />
        <Failed what="The menu is not available." failure={failure} again={again} />
      </>
    );
  }
  const shop: Shop = { id: restaurant.id, name: restaurant.name, minimum: restaurant.orderMinimum };
  const here = inCart.restaurant?.id === id ? inCart : null;
  const quantity = (item: Item) => here?.lines.find((line) => line.id === item.id)?.quantity ?? 0;
  const step = (item: Item, by: number) => {
    const next = changed(cart.get(), shop, item, by);
    cart.set(next);
    announce(`${next.lines.find((line) => line.id === item.id)?.quantity ?? 'No'} ${item.name}, total ${shown(total(next))}`);
    refocus(item.id);
  };
  const add = (item: Item) => {
    if (inCart.restaurant && !here) setOther(item);
    else step(item, 1);
  };
  const short = here !== null && isLess(total(here), restaurant.orderMinimum);
  return (
    <div class="withAside">
      <div>
        <div class="masthead">
          <Cover name={restaurant.name} cuisine={restaurant.cuisine} />
          <div>
            <Title name={restaurant.name} />
            <p class="facts">
              {restaurant.cuisine} · {restaurant.address.street1}, {restaurant.address.city} · orders from {shown(restaurant.orderMinimum)}
            </p>
          </div>
        </div>
        <h2 id="menu">Menu</h2>
        <ul class="menu" aria-labelledby="menu">
          {restaurant.menu.items.map(({ id, name, description, price }) => {
            const item = { id, name, price };
            return (
              <li key={id} data-item={id}>
                <div>
                  <span class="name">{name}</span>
                  {description && <span class="facts">{description}</span>}
                </div>
                <span class="price">{shown(price)}</span>
                {quantity(item) > 0 ? (
                  <Stepper name={name} quantity={quantity(item)} step={(by) => step(item, by)} />
                ) : (
                  <button type="button" class="add" aria-label={`Add ${name}`} onClick={() => add(item)}>
                    Add
                  </button>
                )}
              </li>
            );
          })}
        </ul>
      </div>
      <aside aria-label="Your order" class="receipt">
        <h2>Your order</h2>
        {here ? (
          <>
            <ul class="lines">
              {here.lines.map((line) => (
                <li key={line.id}>
                  <span>
                    {line.quantity} × {line.name}
                  </span>
                  <span class="price">{shown(sum([line]))}</span>
                </li>
              ))}
            </ul>
            <p class="total">
              <span>Total</span>
              <span class="price">{shown(total(here))}</span>
            </p>
            {short && <p class="hint">Orders start at {shown(restaurant.orderMinimum)}.</p>}
            <Link to="/checkout" class="button">
              Go to checkout
            </Link>
          </>
        ) : (
          <p class="hint">Nothing in it yet.</p>
        )}
      </aside>
      {here && (
        <Link to="/checkout" class="button bottom" aria-hidden="true" tabIndex={-1}>
          Checkout · {count(here)} · {shown(total(here))}
        </Link>
      )}
      {other && (
        <Question
          title="Begin a new order?"
          yes="Begin a new one"
          no="Keep the old one"
          onNo={() => setOther(null)}
          onYes={() => {
            setOther(null);
            step(other, 1);
          }}
        >
          <p>Your cart has things from {inCart.restaurant?.name}. One order is from one restaurant.</p>
        </Question>
      )}
    </div>
  );
}
