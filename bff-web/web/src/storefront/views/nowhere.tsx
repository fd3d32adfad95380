// A path that names nothing.

import { Link } from '../router';
import { Title } from '../ui';

export function Nowhere({ what }: { what?: string }) {
  return (
    <>
      <Title name="Not here" />
      <p>
        {what ?? 'There is no such page.'} <Link to="/">To the restaurants</Link>
      </p>
    </>
  );
}
