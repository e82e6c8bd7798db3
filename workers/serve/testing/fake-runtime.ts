import { WARM_UP } from '../policies/blank-row.ts';
import type { ActResult, ActRow, PolicyHandle, PolicyPort, Reasoning } from '../policies/index.ts';

export interface FakeRun {
  readonly kind: 'act' | 'reason' | 'reasonAndAct';
  readonly rows: readonly ActRow[];
}

/**
 * Acts like the model where the model is not the subject: every action of a row is its first state
 * plus a number of its policy, reasoning says what it was asked. Runs can be held until released.
 */
export class FakeRuntime implements PolicyPort {
  readonly maxBatch: number = 32;
  pulledBack = false;
  readonly runs: FakeRun[] = [];
  /** Graphs that were made ready: kind and rows. */
  readonly warmups: string[] = [];
  readonly unloaded: string[] = [];
  loads = 0;
  /** Called for every row in place of the usual actions. */
  actions: (row: ActRow) => Float32Array = (row) => usual(row);
  /** What every run waits for. */
  pace: () => Promise<void> = () => Promise.resolve();
  onLoad: () => Promise<void> = () => Promise.resolve();
  onPrepare: () => Promise<void> = () => Promise.resolve();

  async load(policy: Parameters<PolicyPort['load']>[0]): Promise<PolicyHandle> {
    this.loads += 1;
    await this.onLoad();
    return { digest: policy.digest, manifest: policy.manifest } as unknown as PolicyHandle;
  }

  async unload(handle: PolicyHandle): Promise<void> {
    this.unloaded.push(digestOf(handle));
  }

  batchKey(): string {
    return 'same';
  }

  /** As the model: it reads a few words. */
  refusalOf(instruction: string): string | undefined {
    const words = instruction.split(' ').length;
    return words > 32 ? `the instruction has ${words} words` : undefined;
  }

  async act(rows: readonly ActRow[]): Promise<ActResult[]> {
    await this.run({ kind: 'act', rows });
    return rows.map((row) => ({ actions: this.actions(row) }));
  }

  async reason(rows: readonly ActRow[]): Promise<Reasoning[]> {
    await this.run({ kind: 'reason', rows });
    return rows.map(reasoningOf);
  }

  async reasonAndAct(rows: readonly ActRow[]): Promise<ActResult[]> {
    await this.run({ kind: 'reasonAndAct', rows });
    return rows.map((row) => ({ actions: this.actions(row), reasoning: reasoningOf(row) }));
  }

  async prepare(kind: string, rows: readonly ActRow[]): Promise<void> {
    this.warmups.push(`${kind} ${rows.length}`);
    await this.onPrepare();
  }

  private async run(run: FakeRun): Promise<void> {
    if (run.rows[0]?.instruction === WARM_UP) {
      this.warmups.push(`${run.kind} ${run.rows.length}`);
      return;
    }
    this.runs.push(run);
    await this.pace();
  }
}

/** Holds runs of a fake runtime until they are let go, one after the other. */
export function gate(runtime: FakeRuntime) {
  const held: (() => void)[] = [];
  runtime.pace = () => new Promise((resolve) => held.push(resolve));
  return {
    get held() {
      return held.length;
    },
    /** Waits until a run is held, and lets it go. */
    async release(): Promise<void> {
      while (held.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      held.shift()?.();
    },
    open(): void {
      runtime.pace = () => Promise.resolve();
      held.splice(0).forEach((resolve) => resolve());
    },
  };
}

/** The number that a policy adds to the state: from its digest. */
export function policyNumber(digest: string): number {
  return Number.parseInt(digest.slice(0, 4), 16) / 65_536;
}

function usual(row: ActRow): Float32Array {
  const value = row.state[0]! + policyNumber(digestOf(row.policy));
  return new Float32Array(16).fill(value);
}

function reasoningOf(row: ActRow): Reasoning {
  return { text: `to ${row.instruction}`, tokens: 4, embedding: Float32Array.of(row.state[0]!) };
}

function digestOf(handle: PolicyHandle): string {
  return (handle as unknown as { digest: string }).digest;
}
