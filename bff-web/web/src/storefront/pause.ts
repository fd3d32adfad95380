// How long to wait before a connection is tried again.

const FIRST = 500;
const LONGEST = 15_000;

/** Milliseconds: doubled with every try up to a bound, and up to a half less, so that pages do not come back all at once. */
export function pauseAfter(tries: number, random: () => number = Math.random): number {
  const longest = Math.min(LONGEST, FIRST * 2 ** Math.min(tries, 10));
  return Math.round(longest * (1 - random() / 2));
}

/** Waits that long, or until the browser says that it is online again. */
export function pause(tries: number): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      clearTimeout(timer);
      removeEventListener('online', go);
      resolve();
    };
    const timer = setTimeout(go, pauseAfter(tries));
    addEventListener('online', go);
  });
}
