import { Ndarray, type SessionClaims, type WireChunk } from '@armature/sdk/contract';
import {
  checkChunk,
  chunkLimits,
  departureOf,
  type CheckedChunk,
  type ChunkLimits,
  type CommandHistory,
  type Departure,
} from '../chunks/index.ts';
import type { LedgerEntry } from '../ledger/index.ts';
import type { LoadedPolicy } from '../policies/index.ts';
import type { RunInfo } from '../scheduler/index.ts';
import { superseded, tooLate, type Admitted } from './admission.ts';
import type { SessionDeps, SessionOutlet } from './deps.ts';
import type { PolicyFaults } from './policy-faults.ts';
import type { CurrentReasoning } from './reasoning-line.ts';

/** A chunk that an engine made, and what it was made from. */
export interface MadeChunk {
  readonly admitted: Admitted;
  /** f32 [H, A] as the policy gave them. */
  readonly actions: Float32Array;
  readonly reasoning: CurrentReasoning | undefined;
  readonly run: RunInfo;
  readonly decodedMs: number;
}

export interface DeliveryOptions {
  readonly claims: SessionClaims;
  readonly policy: LoadedPolicy;
  readonly history: CommandHistory;
  readonly deps: Pick<SessionDeps, 'clock' | 'ledger' | 'metrics'>;
  readonly faults: Pick<PolicyFaults, 'chunk'>;
  readonly outlet: SessionOutlet;
  readonly refuse: (error: unknown, seq: number) => void;
  /** Whether the session has ended: then nothing is sent, and nothing owed. */
  readonly isOver: () => boolean;
}

/**
 * Takes a chunk from the engine to the robot: checks it against the robot's limits, records what is
 * owed for it, then sends it. What is not sent is not owed.
 */
export class Delivery {
  private readonly options: DeliveryOptions;
  private readonly limits: ChunkLimits;
  /** Id of the last reasoning that is on record. */
  private recorded: string | undefined;
  private lastSent = -1;

  constructor(options: DeliveryOptions) {
    this.options = options;
    this.limits = chunkLimits(options.claims.embodiment.spec);
  }

  /** @throws ArmatureError `invalid_action` when the chunk may not leave. */
  deliver(made: MadeChunk): void {
    const { admitted } = made;
    const { spec } = this.options.claims.embodiment;
    const { last, before } = admitted.command;
    const departure = departureOf(spec, admitted.state, last, before);
    const { actions, clamped } = this.checked(made, departure);
    this.options.outlet.offer({
      send: () => {
        if (this.inTime(admitted)) void this.commit(made, actions, clamped);
      },
      drop: () => {
        this.options.deps.metrics.late.inc({ reason: 'slow_reader' });
        this.options.refuse(
          superseded('a newer chunk was ready before the robot read'),
          admitted.seq,
        );
      },
    });
  }

  private checked({ admitted, actions }: MadeChunk, departure: Departure): CheckedChunk {
    try {
      return checkChunk(actions, this.limits, departure);
    } catch (error) {
      this.options.faults.chunk(this.options.history.chunkId(admitted.seq), actions, error);
      throw error;
    }
  }

  private inTime({ seq, expires }: Admitted): boolean {
    if (this.options.isOver() || seq <= this.lastSent) return false;
    if (this.options.deps.clock.now() < expires) return true;
    this.options.deps.metrics.late.inc({ reason: 'computed' });
    this.options.refuse(tooLate('its chunk was ready after its deadline'), seq);
    return false;
  }

  private async commit(made: MadeChunk, actions: Float32Array, clamped: number): Promise<void> {
    const { seq } = made.admitted;
    const { history } = this.options;
    const { epoch } = history;
    const id = history.chunkId(seq);
    this.lastSent = seq;
    try {
      await this.record(this.entries(made, id));
      const chunk = this.frame(made, { id, epoch }, actions, clamped);
      history.remember(id, actions);
      this.options.outlet.send(chunk);
      this.count(made, chunk);
    } catch (error) {
      this.options.refuse(error, seq);
    }
  }

  /** A reasoning that could not be recorded goes with the next chunk that it drives. */
  private async record(entries: readonly LedgerEntry[]): Promise<void> {
    const before = this.recorded;
    const made = entries.find((entry) => entry.kind === 'reasoning')?.id;
    // Known before it is on file, so that two chunks of one turn do not both count its tokens.
    this.recorded = made ?? before;
    try {
      await this.options.deps.ledger.append(entries);
    } catch (error) {
      this.recorded = before;
      throw error;
    }
  }

  private entries({ admitted, reasoning, run }: MadeChunk, id: string): LedgerEntry[] {
    const { sub, tenant, policy, embodiment } = this.options.claims;
    const at = new Date(this.options.deps.clock.wall()).toISOString();
    const isNew = reasoning !== undefined && reasoning.id !== this.recorded;
    const usage: LedgerEntry = {
      kind: 'usage',
      id,
      tenant_id: tenant,
      session_id: sub,
      policy_version_id: policy.version_id,
      reasoning_id: reasoning?.id ?? null,
      actions: embodiment.spec.horizon,
      reasoning_tokens: isNew ? reasoning.reasoning.tokens : 0,
      compute_us: Math.round((run.ranMs * 1000) / run.rows),
      ...(admitted.deviation === undefined ? {} : { deviation: admitted.deviation }),
      at,
    };
    if (!isNew) return [usage];
    return [
      {
        kind: 'reasoning',
        id: reasoning.id,
        tenant_id: tenant,
        session_id: sub,
        text: reasoning.reasoning.text,
        source: 'policy',
        tokens: reasoning.reasoning.tokens,
        created_at: at,
      },
      usage,
    ];
  }

  private frame(
    made: MadeChunk,
    name: { readonly id: string; readonly epoch: number },
    actions: Float32Array,
    clamped: number,
  ): WireChunk {
    const { admitted, reasoning, run, decodedMs } = made;
    const { spec } = this.options.claims.embodiment;
    const now = this.options.deps.clock.now();
    return {
      type: 'chunk',
      seq: admitted.seq,
      chunk_id: name.id,
      epoch: name.epoch,
      actions: Ndarray.float32(actions, [spec.horizon, spec.action.length]),
      reasoning:
        reasoning === undefined
          ? null
          : {
              id: reasoning.id,
              text: reasoning.reasoning.text,
              age_ms: Math.max(0, now - reasoning.observedAt),
            },
      policy_version: this.options.claims.policy.version_id,
      stats_hash: this.options.policy.manifest.stats_hash,
      clamped,
      timings: {
        decode_ms: decodedMs,
        queue_ms: run.queuedMs,
        infer_ms: run.ranMs,
        total_ms: now - admitted.arrivedAt,
        batch: run.rows,
      },
    };
  }

  private count({ reasoning }: MadeChunk, { timings, clamped, actions }: WireChunk): void {
    const { metrics } = this.options.deps;
    metrics.chunks.inc();
    metrics.actions.inc(actions.shape[0] ?? 0);
    metrics.clamped.inc(clamped);
    metrics.chunkE2e.observe(timings.total_ms / 1000);
    metrics.chunkOverhead.observe((timings.total_ms - timings.infer_ms) / 1000);
    metrics.decode.observe(timings.decode_ms / 1000);
    metrics.queue.observe(timings.queue_ms / 1000);
    if (reasoning === undefined) return;
    metrics.reasoningAge.observe((this.options.deps.clock.now() - reasoning.observedAt) / 1000);
  }
}
