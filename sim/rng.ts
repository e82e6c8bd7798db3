/** Seeded randomness. Everything random in this room draws from one of these, handed in. */
export interface Rng {
  /** Uniform in [0, 1), 32 bits. */
  next(): number;
  /** Uniform in [low, high). */
  uniform(low: number, high: number): number;
  /** Integer in [low, high], both ends included. */
  integer(low: number, high: number): number;
  /** Standard normal. */
  normal(): number;
  /** One of the items, each as likely. */
  pick<T>(items: readonly T[]): T;
}

/**
 * A generator for a seed and, optionally, further numbers that name a stream of it
 * (`createRng(seed, episode)`): different streams do not overlap in practice.
 * Algorithm: sfc32 (PractRand, C. Doty-Humphrey), seeded through splitmix32.
 */
export function createRng(...stream: readonly number[]): Rng {
  let [a, b, c] = seedState(stream);
  let counter = 1;
  const next = (): number => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 4294967296;
  };
  for (let i = 0; i < 12; i++) next();
  return {
    next,
    uniform: (low, high) => low + (high - low) * next(),
    integer: (low, high) => low + Math.floor(next() * (high - low + 1)),
    normal: () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
    pick: (items) => {
      const item = items[Math.floor(next() * items.length)];
      if (item === undefined) throw new RangeError('pick: the list is empty');
      return item;
    },
  };
}

function seedState(stream: readonly number[]): [number, number, number] {
  let hash = 0x9e3779b9;
  const mix = (): number => {
    hash = (hash + 0x9e3779b9) | 0;
    let z = hash ^ (hash >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z ^= z >>> 15;
    z = Math.imul(z, 0x735a2d97);
    return z ^ (z >>> 15);
  };
  for (const part of stream) {
    if (!Number.isSafeInteger(part)) throw new RangeError(`seed ${part} is not an integer`);
    hash = mix() ^ (part | 0);
    hash = mix() ^ Math.floor(part / 4294967296);
  }
  return [mix(), mix(), mix()];
}
