// Amounts as the schema writes them, "61.70": added up as whole cents, never as floats.

export interface Money {
  amount: string;
  currency: string;
}

const AMOUNT = /^(-?)(\d+)(?:\.(\d{1,2})0*)?$/;

export function cents(amount: string): bigint {
  const match = AMOUNT.exec(amount.trim());
  if (!match) throw new RangeError(`no amount: ${amount}`);
  const [, sign, whole, rest = ''] = match;
  const value = BigInt(whole as string) * 100n + BigInt(rest.padEnd(2, '0'));
  return sign ? -value : value;
}

/** Whether something that was found somewhere is one that can be added up. */
export function isMoney(found: unknown): found is Money {
  const { amount, currency } = (found ?? {}) as Partial<Money>;
  return typeof currency === 'string' && typeof amount === 'string' && AMOUNT.test(amount.trim());
}

export function money(value: bigint, currency: string): Money {
  const digits = (value < 0n ? -value : value).toString().padStart(3, '0');
  return { amount: `${value < 0n ? '-' : ''}${digits.slice(0, -2)}.${digits.slice(-2)}`, currency };
}

export function sum(lines: readonly { price: Money; quantity: number }[], currency = 'USD'): Money {
  const total = lines.reduce((sum, { price, quantity }) => sum + cents(price.amount) * BigInt(quantity), 0n);
  return money(total, lines[0]?.price.currency ?? currency);
}

export function isLess(one: Money, other: Money): boolean {
  return cents(one.amount) < cents(other.amount);
}

/** "$61.70"; the digits are those of the amount. */
export function shown({ amount, currency }: Money): string {
  const sign = currency === 'USD' ? '$' : `${currency} `;
  return amount.startsWith('-') ? `−${sign}${amount.slice(1)}` : `${sign}${amount}`;
}
