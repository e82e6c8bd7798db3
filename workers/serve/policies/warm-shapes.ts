import type { ReasoningCadence } from '@armature/sdk/contract';
import { blankRow } from './blank-row.ts';
import type { LoadedPolicy } from './policy-registry.ts';
import type { ActRow, PolicyHandle } from './port.ts';
import { runShape, shapeOf, type Shape } from './shape.ts';

/** How a row is computed. */
export type RowKind = 'act' | 'reason_and_act' | 'reason';

export interface WarmShapesOptions {
  readonly run: (kind: RowKind, rows: readonly ActRow[]) => Promise<unknown>;
  /** Has the graph of a run of these rows ready without running it. */
  readonly prepare: (kind: RowKind, rows: readonly ActRow[]) => Promise<unknown>;
  /** What the policies of rows that may share a run have in common. */
  readonly groupOf: (handle: PolicyHandle) => string;
  /** Batch sizes that the runtime builds graphs for, ascending. */
  readonly buckets: readonly number[];
  /** Whether there are graphs that take guidance through the network; none unless told. */
  readonly pulledBack?: boolean;
  readonly onWarm?: (warm: {
    readonly kind: RowKind;
    readonly family: string;
    readonly paired: boolean;
    readonly pulled: boolean;
    readonly rows: number;
    readonly ms: number;
  }) => void;
  readonly onError: (error: unknown) => void;
}

interface Member {
  readonly policy: LoadedPolicy;
  readonly shape: Shape;
  readonly kinds: readonly RowKind[];
}

/** Rows without low-rank pairs run in a graph of their own, with any in another. */
const PAIRED = [false, true] as const;

/**
 * Which graphs are there, so that no robot ever waits for one to be built. A robot is welcomed when a
 * row like its own has been computed alone; the graphs for as many robots as are connected are made
 * behind its back, and until then runs stay as small as what is warm. Those are not run for nothing:
 * a run of many rows would hold up the robots that are being served, and the first run of a graph
 * costs no more than the next.
 */
export class WarmShapes {
  private readonly options: WarmShapesOptions;
  private readonly warm = new Map<string, Promise<void>>();
  private readonly done = new Set<string>();
  private readonly members = new Map<string, Set<Member>>();
  private growth: Promise<void> = Promise.resolve();

  constructor(options: WarmShapesOptions) {
    this.options = options;
  }

  /** Whether a run of these rows meets a warm graph. */
  fits(kind: string, shapes: readonly Shape[]): boolean {
    const bucket = this.bucket(shapes.length);
    return bucket !== undefined && this.done.has(keyOf(kind, runShape(shapes), bucket));
  }

  /**
   * Warms what one robot with this policy needs, then lets it count for larger runs until the
   * function that is returned is called.
   */
  async admit(policy: LoadedPolicy, cadence: ReasoningCadence): Promise<() => void> {
    const member = { policy, shape: shapeOf(policy.manifest), kinds: kindsOf(cadence) };
    for (const kind of member.kinds) {
      for (const pulled of this.waysOf(kind)) await this.ensure(kind, [member], 1, pulled);
    }
    const group = this.options.groupOf(policy.handle);
    const members = this.members.get(group) ?? new Set<Member>();
    this.members.set(group, members.add(member));
    this.growth = this.growth.then(() => this.grow(group).catch(this.options.onError));
    return () => {
      members.delete(member);
      if (members.size === 0 && this.members.get(group) === members) this.members.delete(group);
    };
  }

  /** Warms every batch size up to the number of robots there are, smallest first. */
  private async grow(group: string): Promise<void> {
    for (const kind of ['act', 'reason_and_act', 'reason'] as const) {
      for (const paired of PAIRED) {
        const { length } = this.using(group, kind, paired);
        if (length < 2) continue;
        const enough = this.bucket(length) ?? this.options.buckets.at(-1) ?? 0;
        for (const bucket of this.options.buckets.filter((size) => size > 1 && size <= enough)) {
          // Robots come and go meanwhile: what is warmed is what is there now.
          for (const pulled of this.waysOf(kind)) {
            const now = this.using(group, kind, paired);
            if (now.length > 0) await this.ensure(kind, now, bucket, pulled);
          }
        }
      }
    }
  }

  /** Who may be in a run without pairs, or in one with some. */
  private using(group: string, kind: RowKind, paired: boolean): Member[] {
    const all = [...(this.members.get(group) ?? [])].filter(({ kinds }) => kinds.includes(kind));
    if (!paired) return all.filter(({ shape }) => !shape.paired);
    return all.some(({ shape }) => shape.paired) ? all : [];
  }

  /** Runs a blank row of the member, or makes the graph for several, unless that has been done. */
  private ensure(
    kind: RowKind,
    members: readonly Member[],
    bucket: number,
    pulled: boolean,
  ): Promise<void> {
    const rows = cover(members, bucket);
    const shape = { ...runShape(rows.map((member) => member.shape)), pulled };
    const key = keyOf(kind, shape, bucket);
    const known = this.warm.get(key);
    if (known !== undefined) return known;
    const started = performance.now();
    const blank = rows.map((member) => blankRow(member.policy, pulled));
    const { run, prepare } = this.options;
    const made = (bucket === 1 ? run(kind, blank) : prepare(kind, blank)).then(
      () => {
        this.done.add(key);
        const { family, paired } = shape;
        const ms = performance.now() - started;
        this.options.onWarm?.({ kind, family, paired, pulled, rows: bucket, ms });
      },
      (error: unknown) => {
        this.warm.delete(key);
        throw error;
      },
    );
    this.warm.set(key, made);
    return made;
  }

  /** Guided without the network's backward pass and, where there are graphs for it, with it. */
  private waysOf(kind: RowKind): readonly boolean[] {
    return this.options.pulledBack === true && kind !== 'reason' ? [false, true] : [false];
  }

  private bucket(rows: number): number | undefined {
    return this.options.buckets.find((size) => size >= rows);
  }
}

/** `count` of the members: one with pairs where any has, and those with most cameras of each kind. */
function cover(members: readonly Member[], count: number): Member[] {
  const most = (value: (shape: Shape) => number) =>
    members.toSorted((a, b) => value(b.shape) - value(a.shape))[0];
  const order = [
    most(({ paired }) => Number(paired)),
    most(({ views }) => views.external),
    most(({ views }) => views.wrist),
    ...members,
  ].filter((member) => member !== undefined);
  const chosen = [...new Set(order)].slice(0, count);
  return Array.from({ length: count }, (_, i) => chosen[i % chosen.length]).filter(
    (member) => member !== undefined,
  );
}

function kindsOf(cadence: ReasoningCadence): readonly RowKind[] {
  switch (cadence.when) {
    case 'off':
      return ['act'];
    case 'every_chunk':
      return ['reason_and_act'];
    case 'instruction_change':
      return ['act', 'reason_and_act'];
    case 'interval':
    case 'change':
      return ['act', 'reason_and_act', 'reason'];
  }
}

function keyOf(kind: string, { family, views, paired, pulled }: Shape, rows: number): string {
  const variant = `${paired ? ' pairs' : ''}${pulled ? ' pulled' : ''}`;
  return `${kind} ${family}${variant} ${views.external}e${views.wrist}w ${rows}`;
}
