// A value that several parts of the page look at, and one that outlives the page.

import { useEffect, useState } from 'preact/hooks';

export interface Store<T> {
  get(): T;
  set(value: T): void;
  follow(listener: () => void): () => void;
}

export function store<T>(first: T): Store<T> {
  let value = first;
  const listeners = new Set<() => void>();
  return {
    get: () => value,
    set(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const listener of [...listeners]) listener();
    },
    follow(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** In the browser's storage, and the same in all of its tabs. `read` makes of what is found there what it should be. */
export function stored<T>(key: string, read: (found: unknown) => T): Store<T> {
  const load = (text: string | null): T => {
    try {
      return read(JSON.parse(text ?? 'null'));
    } catch {
      return read(null);
    }
  };
  const saved = (): string | null => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null; // Storage is forbidden: it lasts as long as the page.
    }
  };
  const inner = store(load(saved()));
  addEventListener('storage', (event) => {
    if (event.key === key) inner.set(load(event.newValue));
  });
  return {
    ...inner,
    set(value) {
      inner.set(value);
      try {
        localStorage.setItem(key, JSON.stringify(value));
      } catch {
        // As above.
      }
    },
  };
}

export function useStore<T>(source: Store<T>): T {
  const [value, set] = useState(source.get());
  useEffect(() => {
    const update = () => set(() => source.get());
    update();
    return source.follow(update);
  }, [source]);
  return value;
}
