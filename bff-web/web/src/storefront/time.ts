// Times as people read them, in the zone of their browser.

const CLOCK = new Intl.DateTimeFormat('en-US', { hour: 'numeric', minute: '2-digit' });
const DAY = new Intl.DateTimeFormat('en-US', { weekday: 'short', month: 'short', day: 'numeric' });

/** "6:45 PM", never on two lines. */
export function clock(time: string | Date): string {
  return CLOCK.format(new Date(time)).replace(/\s/u, '\u00a0');
}

const HALF_A_DAY = 12 * 3_600_000;

/** "6:45 PM", with its day unless it is today or so near that nobody asks. */
export function when(time: string | Date, now = new Date()): string {
  const date = new Date(time);
  const near = date.toDateString() === now.toDateString() || Math.abs(date.getTime() - now.getTime()) < HALF_A_DAY;
  return near ? clock(date) : `${DAY.format(date)}, ${clock(date)}`;
}

/** "in 12 min", "3 min ago", "just now". */
export function relative(time: string, now: number): string {
  const minutes = Math.round((Date.parse(time) - now) / 60_000);
  if (minutes === 0) return 'just now';
  const span = Math.abs(minutes) < 120 ? `${Math.abs(minutes)} min` : `${Math.round(Math.abs(minutes) / 60)} h`;
  return minutes > 0 ? `in ${span}` : `${span} ago`;
}

/** What `<input type="datetime-local">` wants. */
export function localInput(date: Date): string {
  const two = (n: number) => String(n).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${two(date.getHours())}:${two(date.getMinutes())}`;
}
