// Somebody's orders, newest first, page by page.

import { useEffect, useState } from 'preact/hooks';
import { usePages } from '../loading';
import { shown } from '../money';
import { ORDERS } from '../operations';
import { standing } from '../progress';
import { Link } from '../router';
import { useStore } from '../store';
import { session } from '../session';
import { when } from '../time';
import { announce, Failed, Title, Waiting } from '../ui';
import { NeedsSignIn } from './needs-sign-in';

const FILTERS = {
  all: { label: 'All orders', status: null },
  approved: { label: 'Approved', status: ['APPROVED'] },
  pending: { label: 'Pending', status: ['APPROVAL_PENDING', 'REVISION_PENDING', 'CANCEL_PENDING'] },
  cancelled: { label: 'Cancelled', status: ['CANCELLED'] },
  rejected: { label: 'Rejected', status: ['REJECTED'] },
} as const;

type Filter = keyof typeof FILTERS;

export function Orders() {
  const who = useStore(session);
  if (who.state !== 'known' && who.state !== 'loading') return <NeedsSignIn title="Your orders" />;
  return <List />;
}

function List() {
  const [show, setShow] = useState<Filter>('all');
  const [typed, setTyped] = useState('');
  const [keyword, setKeyword] = useState('');
  useEffect(() => {
    const timer = setTimeout(() => setKeyword(typed.trim()), 300);
    return () => clearTimeout(timer);
  }, [typed]);
  const status = FILTERS[show].status;
  const filter = { ...(status ? { status: [...status] } : {}), ...(keyword ? { keyword } : {}) };
  const { nodes, more, loading, failure, next, again } = usePages(ORDERS, { filter }, (data) => data.orders);
  useEffect(() => {
    if (!loading && !failure) announce(nodes.length === 1 ? '1 order' : `${nodes.length} orders${more ? ', and more' : ''}`);
  }, [loading, failure, nodes.length, more]);
  return (
    <>
      <Title name="Your orders" />
      <form class="where" role="search" aria-label="Orders" onSubmit={(event) => event.preventDefault()}>
        <label>
          Show
          <select value={show} onChange={(event) => setShow(event.currentTarget.value as Filter)}>
            {Object.entries(FILTERS).map(([id, { label }]) => (
              <option key={id} value={id}>
                {label}
              </option>
            ))}
          </select>
        </label>
        <label>
          Search
          <input type="search" value={typed} placeholder="Restaurant or dish" onInput={(event) => setTyped(event.currentTarget.value)} />
        </label>
      </form>
      {failure && <Failed what="Your orders are not available." failure={failure} again={again} />}
      <ul class="rows" aria-label="Orders">
        {nodes.map((order) => (
          <li key={order.id}>
            <Link to={`/orders/${encodeURIComponent(order.id)}`} class="row" data-order={order.id}>
              <span class="name">{order.restaurantName}</span>
              <span class={`state ${order.state}`}>{standing(order)}</span>
              <span class="facts">
                {when(order.createdAt)} · {order.lineItems.map(({ name, quantity }) => `${quantity} × ${name}`).join(', ')}
              </span>
              <span class="price">{shown(order.total)}</span>
            </Link>
          </li>
        ))}
      </ul>
      {loading && <Waiting what="Fetching your orders" />}
      {!loading && !failure && nodes.length === 0 && <p class="empty">{keyword || show !== 'all' ? 'No order is like that.' : 'You have not ordered yet.'}</p>}
      {more && !loading && (
        <button type="button" class="quiet wide" onClick={next}>
          Show more
        </button>
      )}
    </>
  );
}
