import type { Db } from '@armature/db';
import type { ObjectStore } from '@armature/storage';

/**
 * `freeze`: nothing goes on until `thaw`, as in a process that is stopped or whose network is gone; `fail`: the
 * call that is there throws, once; `kill`: the process is gone at once.
 */
export type Interruption = 'freeze' | 'fail' | 'kill';

/** Calls of the store that change nothing in it. */
const READS = /^(get|head|listParts|localPath)$/;

/**
 * Counts the points at which a worker meets the world: before each transaction and each call of the object store
 * is sent, and after its answer is there but not yet known. At one of them it interrupts. Whatever a worker awaits
 * between two of them changes nothing outside of it.
 */
export class Interruptions {
  private readonly at: number | RegExp;
  private readonly how: Interruption;
  private met = 0;
  private readonly reads = new Set<number>();
  private past = false;
  private place = 'nowhere';
  private frozen: Promise<void> | undefined;
  private release: () => void = () => undefined;
  private reached: () => void = () => undefined;
  /** Resolves when the point is reached. */
  readonly here = new Promise<void>((resolve) => (this.reached = resolve));

  /** @param at the point, from 1, or the first whose words fit; 0 never interrupts. */
  constructor(at: number | RegExp, how: Interruption) {
    this.at = at;
    this.how = how;
  }

  get points(): number {
    return this.met;
  }

  /** The points around what may change something: each transaction and each call of the store but a read. */
  get changes(): number[] {
    return numbered(this.met).filter((point) => !this.reads.has(point));
  }

  /** Where the interruption was, in words. */
  get where(): string {
    return this.place;
  }

  thaw(): void {
    this.release();
    this.frozen = undefined;
  }

  database(db: Db): Db {
    const orm = new Proxy(db.orm, {
      get: (target, property) => {
        if (property !== 'transaction') return bound(target, property);
        return async (...args: Parameters<Db['orm']['transaction']>) => {
          await this.meet('before a transaction');
          const result = await target.transaction(...args);
          await this.meet('after a transaction');
          return result;
        };
      },
    });
    return { ...db, orm };
  }

  store(store: ObjectStore): ObjectStore {
    return new Proxy(store, {
      get: (target, property) => {
        const value = bound(target, property);
        if (typeof value !== 'function' || /^presign|^list$/.test(String(property))) return value;
        const call = value as (...args: unknown[]) => Promise<unknown>;
        return async (...args: unknown[]) => {
          const what = `${String(property)} of ${String(args[0])}`;
          const reads = READS.test(String(property));
          await this.meet(`before ${what}`, reads);
          const result = await call(...args);
          await this.meet(`after ${what}`, reads);
          return result;
        };
      },
    });
  }

  private isAt(place: string): boolean {
    return typeof this.at === 'number' ? this.met === this.at : this.at.test(place);
  }

  private async meet(place: string, reads = false): Promise<void> {
    this.met += 1;
    if (reads) this.reads.add(this.met);
    if (!this.past && this.isAt(place)) {
      this.past = true;
      this.place = `point ${this.met}, ${place}`;
      this.reached();
      if (this.how === 'fail') throw new Error(`interrupted at ${this.place}`);
      if (this.how === 'kill') process.kill(process.pid, 'SIGKILL');
      this.frozen = new Promise((resolve) => (this.release = resolve));
    }
    await this.frozen;
  }
}

/**
 * Some of a run's points, where a check of each takes long or differs little from its neighbours': one in
 * `ARMATURE_KILL_EVERY` (9; 1 for all), from `ARMATURE_KILL_FROM` (0) on, which `.ci/run` moves on with every change.
 * @param costs how many times as long as others each takes; so many times fewer are tried, unless all are
 */
export function somePoints(points: number, costs = 1): number[] {
  const told = Number(process.env['ARMATURE_KILL_EVERY'] ?? 9);
  const every = told === 1 ? 1 : told * costs;
  const from = Number(process.env['ARMATURE_KILL_FROM'] ?? 0) % every;
  return numbered(points).filter((point) => point % every === from);
}

/**
 * The points of an uninterrupted run at which it changes something, and some of the others: between two changes the
 * world is the same wherever a worker is interrupted.
 */
export function mostPoints({ points, changes }: Interruptions): number[] {
  return [...new Set([...changes, ...somePoints(points)])].sort((a, b) => a - b);
}

function numbered(points: number): number[] {
  return Array.from({ length: points }, (_, i) => i + 1);
}

function bound(target: object, property: string | symbol): unknown {
  const value: unknown = Reflect.get(target, property);
  return typeof value === 'function' ? (value.bind(target) as unknown) : value;
}
