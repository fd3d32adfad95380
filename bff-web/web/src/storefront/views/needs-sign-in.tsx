// A view for which somebody has to be signed in.

import { signInUrl } from '../session';
import { Title } from '../ui';

export function NeedsSignIn({ title }: { title: string }) {
  return (
    <>
      <Title name={title} />
      <p class="empty">
        Sign in to see this. <a href={signInUrl()}>Sign in</a>
      </p>
    </>
  );
}
