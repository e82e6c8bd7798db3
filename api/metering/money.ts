/** Amounts are exact: whole numbers of 10⁻¹² of the currency. */
export type Pico = bigint;

const DIGITS = 12;
const ONE = 10n ** BigInt(DIGITS);

/** @throws Error for a text that is no decimal of at most twelve digits behind the point. */
export function picoOf(decimal: string): Pico {
  const match = /^(\d{1,15})(?:\.(\d{1,12}))?$/.exec(decimal);
  if (match === null) throw new Error(`${decimal} is no amount`);
  const [, whole = '', fraction = ''] = match;
  return BigInt(whole) * ONE + BigInt(fraction.padEnd(DIGITS, '0'));
}

/** The amount as a decimal, exact, with at least two digits behind the point. */
export function decimalOf(pico: Pico): string {
  const fraction = String(pico % ONE).padStart(DIGITS, '0');
  return `${pico / ONE}.${fraction.slice(0, 2)}${fraction.slice(2).replace(/0+$/, '')}`;
}
