import {
  ArmatureError,
  type ServerFrame,
  type SessionClaims,
  type WireObservation,
} from '@armature/sdk/contract';
import { CommandHistory } from '../chunks/index.ts';
import { assertCompatible, type PolicyLease } from '../policies/index.ts';
import type { DropReason } from '../scheduler/index.ts';
import { Admission, superseded, tooLate, type Admitted } from './admission.ts';
import { chunkingModes } from './chunking-modes.ts';
import { Computation } from './computation.ts';
import { Delivery } from './delivery.ts';
import { chunkMs, demandOf } from './demand.ts';
import type { SessionDeps, SessionOutlet } from './deps.ts';
import { resumeToken } from './handover.ts';
import { Intake } from './intake.ts';
import { PolicyFaults } from './policy-faults.ts';

interface Serving {
  readonly lease: PolicyLease;
  readonly computation: Computation;
  /** Lets this session no longer count among those that runs are made ready for. */
  readonly leave: () => void;
}

/** One connection of one robot, whatever carries its frames. Errors go to the robot, never up. */
export class RobotSession {
  private current: SessionClaims;
  private readonly deps: SessionDeps;
  private readonly outlet: SessionOutlet;
  private readonly history: CommandHistory;
  private readonly admission: Admission;
  private readonly intake: Intake<Admitted>;
  private readonly faults: PolicyFaults;
  /** Names this connection in the queue. */
  private readonly key: string;
  private serving: Serving | undefined;
  /** Gives back the room that this session takes on the engines. */
  private free = (): void => undefined;
  private ended = false;
  private computing = 0;

  constructor(claims: SessionClaims, deps: SessionDeps, outlet: SessionOutlet) {
    this.current = claims;
    this.deps = deps;
    this.outlet = outlet;
    this.key = `${claims.sub}:${claims.epoch}`;
    this.history = new CommandHistory(
      claims.sub,
      claims.epoch,
      claims.embodiment.spec.action.length,
    );
    this.faults = new PolicyFaults(claims, deps);
    this.admission = new Admission(claims, this.history, deps);
    this.intake = new Intake(
      (admitted) => this.prepare(admitted),
      (admitted) => this.replaced(admitted.seq),
    );
  }

  get claims(): SessionClaims {
    return this.current;
  }

  /** A later token of the session: from here on chunks are of its epoch, which opens nothing any more. */
  renew(claims: SessionClaims): void {
    if (this.ended) return;
    this.deps.ledger.epochs.spend(claims.sub, claims.epoch);
    this.current = claims;
    this.history.advance(claims.epoch);
  }

  /** What the robot takes to the next worker. */
  get resumeToken(): string {
    const { task } = this.admission;
    return resumeToken(this.claims, { instruction: task, command: this.history.command });
  }

  /** Whether an observation is being computed or waits to be. */
  get busy(): boolean {
    return this.computing > 0;
  }

  /**
   * Gets the policy ready and returns the frame that says so; undefined when the session ended
   * meanwhile.
   * @throws ArmatureError when this session cannot be served.
   */
  async open(): Promise<ServerFrame | undefined> {
    this.free = this.takePlace();
    try {
      return await this.prepareToServe();
    } catch (error) {
      this.free();
      this.faults.load(error);
      throw error;
    }
  }

  private async prepareToServe(): Promise<ServerFrame | undefined> {
    const { policy, tenant, embodiment } = this.claims;
    const { version_id: versionId, digest, prefix } = policy;
    const lease = await this.deps.policies.acquire({ tenant, versionId, digest, prefix });
    const { manifest } = lease.policy;
    const leave = await this.warm(lease).catch((error: unknown) => {
      lease.release();
      throw error;
    });
    if (this.isEnded()) {
      leave();
      lease.release();
      return undefined;
    }
    this.serving = { lease, leave, computation: this.computation(lease) };
    this.deps.ledger.epochs.spend(this.claims.sub, this.claims.epoch);
    return {
      type: 'welcome',
      session_id: this.claims.sub,
      epoch: this.claims.epoch,
      worker: this.deps.worker,
      embodiment: embodiment.spec,
      policy_version: versionId,
      stats_hash: manifest.stats_hash,
      preprocess_hash: manifest.preprocess_hash,
      chunking: chunkingModes(manifest, this.deps.runtime),
    };
  }

  /** What `loading` says while `open` is under way. */
  get progress(): string {
    return this.deps.policies.progress(this.claims.policy.digest);
  }

  observe(observation: WireObservation): void {
    this.deps.metrics.observations.inc();
    const { delay } = observation;
    if (delay !== undefined) this.deps.metrics.delaySteps.observe(delay.steps);
    try {
      if (this.serving === undefined) {
        throw new ArmatureError('unavailable', 'the policy is not ready yet', {
          fix: 'Wait for the welcome frame.',
        });
      }
      const { manifest } = this.serving.lease.policy;
      const modes = chunkingModes(manifest, this.deps.runtime);
      const admitted = this.admission.admit(observation, modes);
      this.computing += 1;
      this.intake.offer(admitted);
    } catch (error) {
      const late = error instanceof ArmatureError && error.code === 'timeout';
      if (late) this.deps.metrics.late.inc({ reason: 'arrival' });
      this.refuse(error, observation.seq);
    }
  }

  /** Tells the robot why an observation (or another frame of its) is not answered. */
  refuse(error: unknown, seq?: number): void {
    if (this.ended) return;
    const known = error instanceof ArmatureError ? error : internal(error);
    if (known.code === 'internal') {
      this.deps.log.error({ err: known.cause ?? known, session: this.key, seq }, known.message);
    }
    this.deps.metrics.countError(known.code);
    this.outlet.send({
      type: 'error',
      code: known.code,
      message: known.message,
      ...(known.field === undefined ? {} : { field: known.field }),
      ...(known.fix === undefined ? {} : { fix: known.fix }),
      retryable: known.retryable,
      ...(seq === undefined ? {} : { seq }),
    });
  }

  /** Nothing is sent from here on; what is being computed is thrown away and not metered. */
  end(): void {
    if (this.ended) return;
    this.ended = true;
    if (this.intake.clear() !== undefined) this.settled();
    this.deps.dispatcher.withdraw(this.key);
    this.free();
    this.serving?.leave();
    if (this.computing === 0) this.serving?.lease.release();
  }

  /**
   * @throws ArmatureError `unavailable` when the engines cannot hold this robot's rate, or what is
   *   owed for it would not fit the spool.
   */
  private takePlace(): () => void {
    const full = this.deps.ledger.refusal();
    if (full !== undefined) {
      throw new ArmatureError('unavailable', `this worker takes no new session: ${full}`, {
        field: 'worker',
        fix: 'Resume the session through the control plane for another worker.',
      });
    }
    const { sub, embodiment } = this.claims;
    const demand = demandOf(this.claims);
    const { capacity, clock } = this.deps;
    const why = capacity.refusal(sub, demand, chunkMs(embodiment.spec), clock.now());
    if (why === undefined) return capacity.hold(sub, demand);
    throw new ArmatureError('unavailable', `this worker cannot hold the robot's rate: ${why}`, {
      field: 'embodiment.control_hz',
      fix: 'Resume the session through the control plane for another worker.',
    });
  }

  private isEnded(): boolean {
    return this.ended;
  }

  private async warm({ policy }: PolicyLease): Promise<() => void> {
    assertCompatible(this.claims.embodiment.spec, policy.manifest);
    return this.deps.warm.admit(policy, this.claims.reasoning);
  }

  private computation({ policy }: PolicyLease): Computation {
    const refuse = (error: unknown, seq: number) => this.refuse(error, seq);
    return new Computation({
      claims: this.claims,
      key: this.key,
      policy,
      history: this.history,
      deps: this.deps,
      delivery: new Delivery({
        claims: this.claims,
        policy,
        history: this.history,
        deps: this.deps,
        faults: this.faults,
        outlet: this.outlet,
        refuse,
        isOver: () => this.ended,
      }),
      begun: () => (this.computing += 1),
      settled: () => this.settled(),
      dropped: (reason, seq) => this.dropped(reason, seq),
      refuse,
    });
  }

  /** One of `computing` is over; the policy is let go with the last, so that no run loses its own. */
  private settled(): void {
    this.computing -= 1;
    if (this.ended && this.computing === 0) this.serving?.lease.release();
  }

  private async prepare(admitted: Admitted): Promise<void> {
    const { serving } = this;
    try {
      if (serving === undefined) throw new Error('an observation came before its policy');
      const images = await this.deps.images.prepare(
        admitted.images,
        this.claims.embodiment.spec.cameras,
        serving.lease.policy.manifest.image,
      );
      const decodedMs = this.deps.clock.now() - admitted.arrivedAt;
      if (this.ended) this.settled();
      else serving.computation.submit({ admitted, images, decodedMs });
    } catch (error) {
      this.settled();
      this.refuse(error, admitted.seq);
    }
  }

  private dropped(reason: DropReason, seq: number): void {
    switch (reason.why) {
      case 'replaced':
        this.deps.metrics.replaced.inc();
        this.refuse(superseded('a newer observation took the place of this one'), seq);
        return;
      case 'expired':
        this.deps.metrics.late.inc({ reason: 'queue' });
        this.refuse(tooLate('no engine was free in time'), seq);
        return;
      case 'failed':
        this.refuse(reason.error, seq);
        return;
      case 'withdrawn':
        return;
    }
  }

  private replaced(seq: number): void {
    this.settled();
    this.dropped({ why: 'replaced' }, seq);
  }
}

function internal(cause: unknown): ArmatureError {
  return new ArmatureError('internal', 'this observation could not be computed', {
    fix: 'Hold and send the next observation.',
    cause,
  });
}
