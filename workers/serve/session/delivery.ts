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
import type { LedgerEntry, ReasoningEntry, UsageEntry } from '../ledger/index.ts';
import type { LoadedPolicy } from '../policies/index.ts';
import type { RunInfo } from '../scheduler/index.ts';
import { superseded, tooLate, type Admitted } from './admission.ts';
import type { SessionDeps, SessionOutlet } from './deps.ts';
import type { PolicyFaults } from './policy-faults.ts';
import type { CurrentReasoning } from './reasoning-line.ts';
import { ReasoningRecords } from './reasoning-records.ts';

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
  readonly deps: Pick<SessionDeps, 'clock' | 'ledger' | 'metrics' | 'log'>;
  readonly faults: Pick<PolicyFaults, 'chunk'>;
  readonly outlet: SessionOutlet;
  readonly refuse: (error: unknown, seq: number) => void;
  /** Whether the session has ended: then nothing is sent, and nothing owed. */
  readonly isOver: () => boolean;
}

/**
 * Takes a chunk from the engine to the robot: checks it against the robot's limits, records what is
 * owed for it, then sends it. What is not sent is not owed. Nor is a robot told of a reasoning that is
 * not on record.
 */
export class Delivery {
  private readonly options: DeliveryOptions;
  private readonly limits: ChunkLimits;
  private readonly reasonings = new ReasoningRecords();
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

  /**
   * Tells the robot of a reasoning beside the chunks, once it is on record: it may never drive one. What
   * cannot be recorded is not told here; it comes with the chunks that it drives. Never rejects.
   */
  async tell({ seq }: Admitted, made: CurrentReasoning): Promise<void> {
    const { deps, history, outlet, isOver } = this.options;
    if (isOver()) return;
    try {
      if (!this.reasonings.of(made.id).recorded) {
        await this.reasonings.mark(made.id, ['recorded'], () =>
          deps.ledger.append([this.reasoningEntry(made, this.at())]),
        );
      }
      if (isOver()) return;
      outlet.send({
        type: 'reasoning',
        id: made.id,
        text: made.reasoning.text,
        epoch: history.epoch,
        seq,
        age_ms: Math.max(0, deps.clock.now() - made.observedAt),
      });
    } catch (err) {
      deps.log.error({ err, id: made.id }, 'a reasoning was not told, since it is not on record');
    }
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
      await this.record(made, id);
      const chunk = this.frame(made, { id, epoch }, actions, clamped);
      history.remember(id, actions);
      this.options.outlet.send(chunk);
      this.count(made, chunk);
    } catch (error) {
      this.options.refuse(error, seq);
    }
  }

  /** A reasoning that could not be recorded goes with the next chunk that it drives. */
  private record(made: MadeChunk, id: string): Promise<void> {
    const { ledger } = this.options.deps;
    const { reasoning } = made;
    const at = this.at();
    if (reasoning === undefined) return ledger.append([this.usageEntry(made, id, 0, at)]);
    const { recorded, counted } = this.reasonings.of(reasoning.id);
    const usage = this.usageEntry(made, id, counted ? 0 : reasoning.reasoning.tokens, at);
    const entries: LedgerEntry[] = recorded ? [usage] : [this.reasoningEntry(reasoning, at), usage];
    return this.reasonings.mark(reasoning.id, ['recorded', 'counted'], () =>
      ledger.append(entries),
    );
  }

  /** ISO 8601 in UTC. */
  private at(): string {
    return new Date(this.options.deps.clock.wall()).toISOString();
  }

  private usageEntry(
    { admitted, reasoning, run }: MadeChunk,
    id: string,
    reasoningTokens: number,
    at: string,
  ): UsageEntry {
    const { sub, tenant, policy, embodiment } = this.options.claims;
    return {
      kind: 'usage',
      id,
      tenant_id: tenant,
      session_id: sub,
      policy_version_id: policy.version_id,
      reasoning_id: reasoning?.id ?? null,
      actions: embodiment.spec.horizon,
      reasoning_tokens: reasoningTokens,
      compute_us: Math.round((run.ranMs * 1000) / run.rows),
      ...(admitted.deviation === undefined ? {} : { deviation: admitted.deviation }),
      at,
    };
  }

  private reasoningEntry({ id, reasoning }: CurrentReasoning, at: string): ReasoningEntry {
    const { sub, tenant } = this.options.claims;
    return {
      kind: 'reasoning',
      id,
      tenant_id: tenant,
      session_id: sub,
      text: reasoning.text,
      source: 'policy',
      tokens: reasoning.tokens,
      created_at: at,
    };
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
