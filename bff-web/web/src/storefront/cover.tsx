// A picture for a restaurant that has none: a pattern of its cuisine's own colour, and its initials.

const HUES: Record<string, number> = { Indian: 28, Japanese: 350, Italian: 130, Mexican: 48, Chinese: 8, American: 220 };

export function hueOf(cuisine: string): number {
  let hue = 0;
  for (const letter of cuisine) hue = (hue * 31 + (letter.codePointAt(0) ?? 0)) % 360;
  return HUES[cuisine] ?? hue;
}

export function Cover({ name, cuisine }: { name: string; cuisine: string }) {
  const initials = name
    .split(/\s+/)
    .map((word) => word[0])
    .slice(0, 2)
    .join('');
  // By script, which the page's policy allows; an attribute in the text of a page it would not.
  return (
    <span class="cover" style={{ '--hue': String(hueOf(cuisine)) }} aria-hidden="true">
      <span>{initials}</span>
    </span>
  );
}
