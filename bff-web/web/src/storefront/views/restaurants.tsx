// The restaurants that deliver to somebody's place, and the question where that is.

import { useEffect } from 'preact/hooks';
import { shown } from '../money';
import { RESTAURANTS } from '../operations';
import { usePages } from '../loading';
import { AREAS, areaOf, place, placeIn, wanted } from '../place';
import { Link } from '../router';
import { useStore } from '../store';
import { clock, localInput } from '../time';
import { Cover } from '../cover';
import { announce, Failed, Title, Waiting } from '../ui';

export function When() {
  const { at } = useStore(place);
  const set = (at: string) => place.set({ ...place.get(), at });
  const soon = () => localInput(new Date(Date.now() + 2 * 3_600_000));
  return (
    <>
      <label>
        When
        <select value={at ? 'later' : 'now'} onChange={(event) => set(event.currentTarget.value === 'now' ? '' : soon())}>
          <option value="now">Right away</option>
          <option value="later">At a time</option>
        </select>
      </label>
      {at && (
        <label>
          Time
          <input type="datetime-local" value={at} min={localInput(new Date())} required onChange={(event) => event.currentTarget.value && set(event.currentTarget.value)} />
        </label>
      )}
    </>
  );
}

export function Restaurants() {
  const here = useStore(place);
  const area = areaOf(here);
  const at = wanted(here);
  const near = { lat: area.lat, lng: area.lng };
  const { nodes, more, loading, failure, next, again } = usePages(RESTAURANTS, at ? { near, at } : { near }, (data) => data.restaurants);
  useEffect(() => {
    if (!loading && !failure) announce(nodes.length === 1 ? '1 restaurant' : `${nodes.length} restaurants${more ? ', and more' : ''}`);
  }, [loading, failure, nodes.length, more]);
  return (
    <>
      <section class="hero">
        <Title name="Restaurants near you">
          Good food, <em>to go.</em>
        </Title>
        <form aria-label="Delivery" class="where" onSubmit={(event) => event.preventDefault()}>
          <label>
            Deliver to
            <select
              value={here.area}
              onChange={(event) => {
                const chosen = AREAS.find(({ id }) => id === event.currentTarget.value);
                if (chosen) place.set({ ...placeIn(chosen), at: here.at });
              }}
            >
              {AREAS.map(({ id, name }) => (
                <option key={id} value={id}>
                  {name}
                </option>
              ))}
            </select>
          </label>
          <When />
        </form>
      </section>
      {failure && <Failed what="The restaurants are not available." failure={failure} again={again} />}
      {nodes.length > 0 && (
        <ul class="cards" aria-label="Restaurants">
          {nodes.map((restaurant) => (
            <li key={restaurant.id} class="card">
              <Cover name={restaurant.name} cuisine={restaurant.cuisine} />
              <Link to={`/restaurants/${encodeURIComponent(restaurant.id)}`} class="name" data-restaurant={restaurant.id}>
                {restaurant.name}
              </Link>
              <span class="facts">
                {restaurant.cuisine} · {(restaurant.distance / 1000).toFixed(1)} km · from {shown(restaurant.orderMinimum)}
              </span>
              <span class="facts">{restaurant.openUntil ? `Open until ${clock(restaurant.openUntil)}` : 'Open around the clock'}</span>
            </li>
          ))}
        </ul>
      )}
      {loading && <Waiting what="Looking for restaurants" />}
      {!loading && !failure && nodes.length === 0 && (
        <p class="empty">Nobody delivers to {area.name} {at ? 'at that time' : 'right now'}. Try another place or time.</p>
      )}
      {more && !loading && (
        <button type="button" class="quiet wide" onClick={next}>
          Show more
        </button>
      )}
    </>
  );
}
