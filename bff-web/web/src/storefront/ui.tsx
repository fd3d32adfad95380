// What every view is made of: its title, what it says aloud, failures, waiting, questions.

import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Failure } from './graphql';
import { connection } from './live';
import { store, useStore } from './store';

/** Said aloud by screen readers, without moving the focus. */
export const announced = store('');

let turn = 0;

export function announce(text: string): void {
  // The same words twice are two announcements.
  turn += 1;
  announced.set(turn % 2 ? text : `${text}\u00a0`);
}

export function Announcer() {
  return (
    <div id="announcer" role="status" aria-live="polite" class="unseen">
      {useStore(announced)}
    </div>
  );
}

/** The view's heading: it gets the focus when the view comes, so that reading goes on there. */
export function Title({ children, name }: { children?: ComponentChildren; name: string }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${name} · FTGO`;
  }, [name]);
  useEffect(() => {
    if (Title.moves) heading.current?.focus({ preventScroll: true });
    Title.moves = true;
  }, []);
  return (
    <h1 ref={heading} tabIndex={-1}>
      {children ?? name}
    </h1>
  );
}
// The first view is where the browser has put the focus itself.
Title.moves = false;

const REASONS: Record<string, string> = {
  timeout: 'It did not answer in time.',
  open_circuit: 'It has been failing and is left alone for a moment.',
  upstream_error: 'The service behind it has failed.',
};

/** A failure, next to what has failed. */
export function Failed({ what, failure, again }: { what: string; failure: Failure; again?: () => void }) {
  return (
    <div role="alert" class="failed">
      <p>
        <strong>{what}</strong> {failure.reason ? (REASONS[failure.reason] ?? failure.message) : failure.message} <code>{failure.code}</code>
      </p>
      {failure.faults.length > 0 && (
        <ul>
          {failure.faults.map(({ pointer, detail }) => (
            <li key={pointer}>
              {pointer.split('/').filter(Boolean).join(', ')}: {detail}
            </li>
          ))}
        </ul>
      )}
      {again && (
        <button type="button" class="quiet" onClick={again}>
          Try again
        </button>
      )}
    </div>
  );
}

/** Something is on its way: said after a moment, as most of it is there before. */
export function Waiting({ what }: { what: string }) {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), 400);
    return () => clearTimeout(timer);
  }, []);
  return (
    <p class="waiting" role="status" aria-busy="true">
      {late ? `${what} …` : '\u00a0'}
    </p>
  );
}

/** Whether what is shown moves by itself. */
export function Live({ again }: { again: () => void }) {
  const state = useStore(connection);
  if (state === 'off') return null;
  if (state === 'interrupted') {
    return (
      <div class="live interrupted" data-live={state} role="alert">
        <span class="dot" aria-hidden="true" />
        <span>Live updates are interrupted. Trying again …</span>
        <button type="button" class="quiet" onClick={again}>
          Refresh
        </button>
      </div>
    );
  }
  return (
    <p class={`live ${state}`} data-live={state}>
      <span class="dot" aria-hidden="true" />
      {state === 'live' ? 'Live' : 'Connecting …'}
    </p>
  );
}

/** So many of something. */
export function Stepper({ name, quantity, step }: { name: string; quantity: number; step: (by: number) => void }) {
  return (
    <span class="stepper">
      <button type="button" aria-label={`One less ${name}`} onClick={() => step(-1)}>
        −
      </button>
      <output aria-label={`${quantity} of ${name}`}>{quantity}</output>
      <button type="button" aria-label={`One more ${name}`} onClick={() => step(1)}>
        +
      </button>
    </span>
  );
}

/** When the control that was used has gone, the focus goes to the one in its place, or to the heading. */
export function refocus(item: string): void {
  requestAnimationFrame(() => {
    if (document.activeElement !== document.body) return;
    const there = document.querySelector<HTMLElement>(`[data-item="${CSS.escape(item)}"] button:last-of-type`);
    (there ?? document.querySelector<HTMLElement>('h1'))?.focus();
  });
}

/** A question that has to be answered first. Escape is "no". */
export function Question({ title, children, yes, no, onYes, onNo }: { title: string; children?: ComponentChildren; yes: string; no: string; onYes: () => void; onNo: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      aria-labelledby="question"
      onCancel={(event: Event) => {
        event.preventDefault();
        onNo();
      }}
    >
      <h2 id="question">{title}</h2>
      {children}
      <div class="choices">
        <button type="button" class="quiet" onClick={onNo}>
          {no}
        </button>
        <button type="button" onClick={onYes}>
          {yes}
        </button>
      </div>
    </dialog>
  );
}

/** Does something once at a time, however often it is asked to. */
export function useOnce(): [busy: boolean, run: (what: () => Promise<void>) => void] {
  const running = useRef(false);
  const [busy, setBusy] = useState(false);
  const run = (what: () => Promise<void>) => {
    if (running.current) return;
    running.current = true;
    setBusy(true);
    what().finally(() => {
      running.current = false;
      setBusy(false);
    });
  };
  return [busy, run];
}

/** The time, once in a while. */
export function useNow(every = 30_000): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}
