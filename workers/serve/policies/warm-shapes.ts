import type { ReasoningCadence } from '@armature/sdk/contract';
import { blankRow } from './blank-row.ts';
import type { LoadedPolicy } from './policy-registry.ts';
import type { ActRow } from './port.ts';
import { shapeOf, union, type Views } from './shape.ts';

/** How a row is computed. */
export type RowKind = 'act' | 'reason_and_act' | 'reason';

export interface WarmShapesOptions {
  readonly run: (kind: RowKind, rows: readonly ActRow[]) => Promise<unknown>;
  /** Batch sizes that the runtime builds graphs for, ascending. */
  readonly buckets: readonly number[];
  readonly onWarm?: (warm: {
    readonly kind: RowKind;
    readonly family: string;
    readonly rows: number;
    readonly ms: number;
  }) => void;
  readonly onError: (error: unknown) => void;
}

interface Member {
  readonly policy: LoadedPolicy;
  readonly views: Views;
  readonly kinds: readonly RowKind[];
}

/**
 * Which graphs have been run once, so that no robot ever waits for one to be built. A robot is
 * welcomed when it can be computed alone; the graphs for as many robots as are connected are warmed
 * behind its back, and until then runs stay as small as what is warm.
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
  fits(kind: string, family: string, views: readonly Views[]): boolean {
    const bucket = this.bucket(views.length);
    return bucket !== undefined && this.done.has(keyOf(kind, family, union(views), bucket));
  }

  /**
   * Warms what one robot with this policy needs, then lets it count for larger runs until the
   * function that is returned is called.
   */
  async admit(policy: LoadedPolicy, cadence: ReasoningCadence): Promise<() => void> {
    const { family, views } = shapeOf(policy.manifest);
    const member = { policy, views, kinds: kindsOf(cadence) };
    for (const kind of member.kinds) await this.ensure(kind, family, [member], 1);
    const members = this.members.get(family) ?? new Set<Member>();
    this.members.set(family, members.add(member));
    this.growth = this.growth.then(() => this.grow(family).catch(this.options.onError));
    return () => {
      members.delete(member);
    };
  }

  /** Warms every batch size up to the number of robots there are, smallest first. */
  private async grow(family: string): Promise<void> {
    for (const kind of ['act', 'reason_and_act', 'reason'] as const) {
      const members = this.using(family, kind);
      const enough = this.bucket(members.length) ?? this.options.buckets.at(-1) ?? 0;
      if (members.length < 2) continue;
      for (const bucket of this.options.buckets.filter((size) => size > 1 && size <= enough)) {
        // Robots come and go meanwhile: what is warmed is what is there now.
        const now = this.using(family, kind);
        if (now.length > 0) await this.ensure(kind, family, now, bucket);
      }
    }
  }

  private using(family: string, kind: RowKind): Member[] {
    return [...(this.members.get(family) ?? [])].filter((member) => member.kinds.includes(kind));
  }

  /** Runs blank rows of these members once, unless that has been done. */
  private ensure(
    kind: RowKind,
    family: string,
    members: readonly Member[],
    bucket: number,
  ): Promise<void> {
    const rows = cover(members, bucket);
    const key = keyOf(kind, family, union(rows.map((member) => member.views)), bucket);
    const known = this.warm.get(key);
    if (known !== undefined) return known;
    const started = performance.now();
    const made = this.options
      .run(
        kind,
        rows.map((member) => blankRow(member.policy)),
      )
      .then(
        () => {
          this.done.add(key);
          this.options.onWarm?.({ kind, family, rows: bucket, ms: performance.now() - started });
        },
        (error: unknown) => {
          this.warm.delete(key);
          throw error;
        },
      );
    this.warm.set(key, made);
    return made;
  }

  private bucket(rows: number): number | undefined {
    return this.options.buckets.find((size) => size >= rows);
  }
}

/** `count` of the members, those with most cameras of each kind among them. */
function cover(members: readonly Member[], count: number): Member[] {
  const most = (kind: keyof Views) => members.toSorted((a, b) => b.views[kind] - a.views[kind]);
  const order = [most('external')[0], most('wrist')[0], ...members].filter(
    (member) => member !== undefined,
  );
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

function keyOf(kind: string, family: string, { external, wrist }: Views, rows: number): string {
  return `${kind} ${family} ${external}e${wrist}w ${rows}`;
}
