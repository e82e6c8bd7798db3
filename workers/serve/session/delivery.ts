import { Ndarray, type SessionClaims, type WireChunk } from '@armature/sdk/contract';
import { checkChunk, chunkLimits, type CommandHistory, departureOf } from '../chunks/index.ts';
import type { LedgerEntry } from '../ledger/index.ts';
import type { LoadedPolicy } from '../policies/index.ts';
import type { RunInfo } from '../scheduler/index.ts';
import { superseded, tooLate, type Admitted } from './admission.ts';
import type { SessionDeps, SessionOutlet } from './deps.ts';
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

/**
 * Takes a chunk from the engine to the robot: checks it against the robot's limits, records what is
 * owed for it, then sends it. What is not sent is not owed.
 */
export class Delivery {
  private readonly claims: SessionClaims;
  private readonly policy: LoadedPolicy;
  private readonly history: CommandHistory;
  private readonly deps: Pick<SessionDeps, 'clock' | 'ledger' | 'metrics'>;
  private readonly outlet: SessionOutlet;
  private readonly refuse: (error: unknown, seq: number) => void;
  private readonly limits;
  /** Id of the last reasoning that is on record. */
  private recorded: string | undefined;
  private lastSent = -1;
  private spent = false;

  constructor(
    claims: SessionClaims,
    policy: LoadedPolicy,
    history: CommandHistory,
    deps: Pick<SessionDeps, 'clock' | 'ledger' | 'metrics'>,
    outlet: SessionOutlet,
    refuse: (error: unknown, seq: number) => void,
  ) {
    this.claims = claims;
    this.policy = policy;
    this.history = history;
    this.deps = deps;
    this.outlet = outlet;
    this.refuse = refuse;
    this.limits = chunkLimits(claims.embodiment.spec);
  }

  /** @throws ArmatureError `invalid_action` when the chunk may not leave. */
  deliver(made: MadeChunk): void {
    const { admitted } = made;
    const { spec } = this.claims.embodiment;
    const { last, before } = admitted.command;
    const departure = departureOf(spec, admitted.state, last, before);
    const { actions, clamped } = checkChunk(made.actions, this.limits, departure);
    this.outlet.offer({
      send: () => {
        if (this.inTime(admitted)) void this.commit(made, actions, clamped);
      },
      drop: () => {
        this.deps.metrics.late.inc({ reason: 'slow_reader' });
        this.refuse(superseded('a newer chunk was ready before the robot read'), admitted.seq);
      },
    });
  }

  private inTime({ seq, expires }: Admitted): boolean {
    if (seq <= this.lastSent) return false;
    if (this.deps.clock.now() < expires) return true;
    this.deps.metrics.late.inc({ reason: 'computed' });
    this.refuse(tooLate('its chunk was ready after its deadline'), seq);
    return false;
  }

  private async commit(made: MadeChunk, actions: Float32Array, clamped: number): Promise<void> {
    const { seq } = made.admitted;
    this.lastSent = seq;
    try {
      if (!this.spent) this.deps.ledger.epochs.spend(this.claims.sub, this.claims.epoch);
      this.spent = true;
      await this.deps.ledger.append(this.entries(made));
      const chunk = this.frame(made, actions, clamped);
      this.history.remember(chunk.chunk_id, actions);
      this.outlet.send(chunk);
      this.count(made, chunk);
    } catch (error) {
      this.refuse(error, seq);
    }
  }

  private entries({ admitted, reasoning, run }: MadeChunk): LedgerEntry[] {
    const { sub, tenant, policy, embodiment } = this.claims;
    const at = new Date(this.deps.clock.wall()).toISOString();
    const isNew = reasoning !== undefined && reasoning.id !== this.recorded;
    const usage: LedgerEntry = {
      kind: 'usage',
      id: this.history.chunkId(admitted.seq),
      tenant_id: tenant,
      session_id: sub,
      policy_version_id: policy.version_id,
      reasoning_id: reasoning?.id ?? null,
      actions: embodiment.spec.horizon,
      reasoning_tokens: isNew ? reasoning.reasoning.tokens : 0,
      compute_us: Math.round((run.ranMs * 1000) / run.rows),
      at,
    };
    if (!isNew) return [usage];
    this.recorded = reasoning.id;
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

  private frame(made: MadeChunk, actions: Float32Array, clamped: number): WireChunk {
    const { admitted, reasoning, run, decodedMs } = made;
    const { spec } = this.claims.embodiment;
    const now = this.deps.clock.now();
    return {
      type: 'chunk',
      seq: admitted.seq,
      chunk_id: this.history.chunkId(admitted.seq),
      epoch: this.claims.epoch,
      actions: Ndarray.float32(actions, [spec.horizon, spec.action.length]),
      reasoning:
        reasoning === undefined
          ? null
          : {
              id: reasoning.id,
              text: reasoning.reasoning.text,
              age_ms: Math.max(0, now - reasoning.observedAt),
            },
      policy_version: this.claims.policy.version_id,
      stats_hash: this.policy.manifest.stats_hash,
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
    const { metrics } = this.deps;
    metrics.chunks.inc();
    metrics.actions.inc(actions.shape[0] ?? 0);
    metrics.clamped.inc(clamped);
    metrics.chunkE2e.observe(timings.total_ms / 1000);
    metrics.chunkOverhead.observe((timings.total_ms - timings.infer_ms) / 1000);
    metrics.decode.observe(timings.decode_ms / 1000);
    metrics.queue.observe(timings.queue_ms / 1000);
    if (reasoning === undefined) return;
    metrics.reasoningAge.observe((this.deps.clock.now() - reasoning.observedAt) / 1000);
  }
}
