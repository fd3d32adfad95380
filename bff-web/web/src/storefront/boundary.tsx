// What is shown in place of a view that has failed by a fault of its own: the frame around it goes on.

import { Component, type ComponentChildren } from 'preact';
import { Title } from './ui';

interface State {
  failed: boolean;
}

interface Props {
  /** The path: what failed at one is tried anew at another. */
  at: string;
  children: ComponentChildren;
}

export class Boundary extends Component<Props, State> {
  override state: State = { failed: false };

  static override getDerivedStateFromError(): State {
    return { failed: true };
  }

  override componentDidCatch(error: unknown): void {
    // For whoever looks into it; people read what is below.
    console.error(error);
  }

  override componentDidUpdate(before: Props): void {
    if (this.state.failed && before.at !== this.props.at) this.setState({ failed: false });
  }

  override render() {
    if (!this.state.failed) return this.props.children;
    return (
      <>
        <Title name="Something is broken" />
        <div role="alert" class="failed">
          <p>
            <strong>This page cannot be shown.</strong> The fault is ours, and what you have ordered is not affected.
          </p>
          <button type="button" class="quiet" onClick={() => this.setState({ failed: false })}>
            Try again
          </button>
        </div>
      </>
    );
  }
}
