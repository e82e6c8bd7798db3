import type { SessionClaims } from '@armature/sdk/contract';
import type { CommandHistory } from '../chunks/index.ts';
import {
  shapeOf,
  type ActRow,
  type LoadedPolicy,
  type RowKind,
  type Shape,
} from '../policies/index.ts';
import type { DropReason, Job } from '../scheduler/index.ts';
import type { Admitted } from './admission.ts';
import type { Delivery } from './delivery.ts';
import type { RowResult, SessionDeps } from './deps.ts';
import { ReasoningLine, type CurrentReasoning } from './reasoning-line.ts';
import { rowSeed } from './row-seed.ts';

/** An observation whose pictures are what the policy sees. */
export interface Prepared {
  readonly admitted: Admitted;
  readonly images: Record<string, Uint8Array>;
  /** From its arrival to here. */
  readonly decodedMs: number;
}

export interface ComputationOptions {
  readonly claims: SessionClaims;
  /** Names this connection in the queue. */
  readonly key: string;
  readonly policy: LoadedPolicy;
  readonly history: CommandHistory;
  readonly deps: Pick<SessionDeps, 'dispatcher' | 'metrics' | 'log' | 'runtime' | 'capacity'>;
  readonly delivery: Delivery;
  /** A row beside the observation's own goes to the engine. */
  readonly begun: () => void;
  /** A row is over, however it went. */
  readonly settled: () => void;
  /** An observation will not be computed. */
  readonly dropped: (reason: DropReason, seq: number) => void;
  readonly refuse: (error: unknown, seq: number) => void;
}

/** Hands one session's rows to the engines, and what they make of them on. */
export class Computation {
  private readonly options: ComputationOptions;
  private readonly reasoning: ReasoningLine;
  private readonly shapes: { readonly plain: Shape; readonly pulled: Shape };
  /** What rows of this session may share a run with. */
  private readonly batchKey: string;

  constructor(options: ComputationOptions) {
    const { claims, policy, deps } = options;
    this.options = options;
    this.reasoning = new ReasoningLine(claims.reasoning);
    const { manifest } = policy;
    this.shapes = { plain: shapeOf(manifest), pulled: shapeOf(manifest, true) };
    const { steps } = claims.sampler ?? manifest.sampler;
    this.batchKey = `${deps.runtime.batchKey(policy.handle)} steps=${steps}`;
  }

  /** Puts an observation in the queue, and beside it the renewal of the reasoning where it is due. */
  submit(prepared: Prepared): void {
    const { admitted } = prepared;
    const plan = this.reasoning.plan(admitted.instruction, admitted.observedAt, prepared.images);
    let used: CurrentReasoning | undefined;
    this.enqueue('act', admitted, {
      kind: plan.kind,
      shape:
        admitted.previous?.correction === 'pulled-back' ? this.shapes.pulled : this.shapes.plain,
      row: () => {
        used = plan.kind === 'act' ? this.reasoning.current(admitted.instruction) : undefined;
        return this.row(prepared, used);
      },
      done: (result, run) => {
        this.options.settled();
        const reasoning = this.takeReasoning(prepared, result) ?? used;
        try {
          if (result.actions === undefined) throw new Error('the engine gave no actions');
          const { actions } = result;
          const { decodedMs } = prepared;
          this.options.delivery.deliver({ admitted, actions, reasoning, run, decodedMs });
        } catch (error) {
          this.options.refuse(error, admitted.seq);
        }
      },
      dropped: (reason) => {
        this.options.settled();
        this.options.dropped(reason, admitted.seq);
      },
    });
    if (plan.refresh) this.refreshReasoning(prepared);
  }

  private refreshReasoning(prepared: Prepared): void {
    const { begun, settled, deps, key } = this.options;
    this.reasoning.refreshStarted();
    begun();
    this.enqueue('reason', prepared.admitted, {
      kind: 'reason',
      shape: this.shapes.plain,
      row: () => this.row(prepared, undefined),
      done: (result) => {
        settled();
        this.reasoning.refreshEnded();
        const made = this.takeReasoning(prepared, result);
        if (made === undefined || !prepared.admitted.tellReasoning) return;
        void this.options.delivery.tell(prepared.admitted, made);
      },
      dropped: (reason) => {
        settled();
        this.reasoning.refreshEnded();
        if (reason.why !== 'failed') return;
        deps.log.warn({ err: reason.error, session: key }, 'a reasoning failed');
      },
    });
  }

  private enqueue(
    lane: 'act' | 'reason',
    admitted: Admitted,
    job: Job<ActRow, RowResult> & { readonly kind: RowKind },
  ): void {
    const { deps, key, claims } = this.options;
    deps.dispatcher.submit({
      session: key,
      tenant: claims.tenant,
      lane,
      group: `${job.kind} ${this.batchKey}${job.shape.pulled ? ' pulled' : ''}`,
      deadline: lane === 'act' ? admitted.deadline : this.reasoning.due(admitted.observedAt),
      expires: lane === 'act' ? admitted.expires : Infinity,
      inFlightLimit: claims.limits.max_in_flight,
      weight: claims.limits.share ?? 1,
      cost: deps.capacity.rowCost(job.kind),
      job,
    });
  }

  private row({ admitted, images }: Prepared, reasoning: CurrentReasoning | undefined): ActRow {
    const { policy, history, claims } = this.options;
    const { last } = admitted.command;
    const { previous, earlier } = admitted;
    return {
      policy: policy.handle,
      images,
      instruction: admitted.instruction,
      state: admitted.state,
      ...(last === undefined ? {} : { lastCommand: last }),
      ...(earlier === undefined ? {} : { earlier }),
      seed: rowSeed(history.chunkId(admitted.seq)),
      ...(claims.sampler === undefined ? {} : { sampler: claims.sampler }),
      ...(reasoning === undefined ? {} : { reasoning: reasoning.reasoning }),
      ...(previous === undefined ? {} : { previous }),
    };
  }

  private takeReasoning(prepared: Prepared, result: RowResult): CurrentReasoning | undefined {
    if (result.reasoning === undefined) return undefined;
    const { admitted, images } = prepared;
    const made: CurrentReasoning = {
      id: this.options.history.chunkId(admitted.seq),
      reasoning: result.reasoning,
      observedAt: admitted.observedAt,
      instruction: admitted.instruction,
      scene: images,
    };
    this.reasoning.accept(made);
    this.options.deps.metrics.reasoningTokens.inc(result.reasoning.tokens);
    return made;
  }
}
