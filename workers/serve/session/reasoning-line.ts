import type { ReasoningCadence } from '@armature/sdk/contract';
import type { Reasoning } from '../policies/index.ts';
import { sceneDistance, type Scene } from './scene.ts';

/** A reasoning and what it was made of. */
export interface CurrentReasoning {
  readonly id: string;
  readonly reasoning: Reasoning;
  /** When the observation it saw was made, ms on the worker's monotonic clock. */
  readonly observedAt: number;
  readonly instruction: string;
  /** The pictures that it saw. */
  readonly scene: Scene;
}

export interface ReasoningPlan {
  /** How the chunk is computed: with the reasoning at hand, or with a new one in the same run. */
  readonly kind: 'act' | 'reason_and_act';
  /** Whether the reason lane should renew the reasoning from this observation. */
  readonly refresh: boolean;
}

/**
 * The reasoning of one session. A chunk never waits for the reason lane: it uses the latest
 * reasoning there is. Only where there is none for the instruction in force (first chunk, new
 * instruction) is it made in the chunk's own run, since one about another task would mislead.
 */
export class ReasoningLine {
  private readonly cadence: ReasoningCadence;
  private latest: CurrentReasoning | undefined;
  private refreshing = false;

  constructor(cadence: ReasoningCadence) {
    this.cadence = cadence;
  }

  /**
   * @param now ms on the worker's monotonic clock.
   * @param scene pictures of the observation that is planned for.
   */
  plan(instruction: string, now: number, scene: Scene): ReasoningPlan {
    if (this.cadence.when === 'off') return { kind: 'act', refresh: false };
    const current = this.current(instruction);
    if (this.cadence.when === 'every_chunk' || current === undefined) {
      return { kind: 'reason_and_act', refresh: false };
    }
    return { kind: 'act', refresh: !this.refreshing && this.isStale(current, now, scene) };
  }

  private isStale(current: CurrentReasoning, now: number, scene: Scene): boolean {
    switch (this.cadence.when) {
      case 'interval':
        return now - current.observedAt >= this.cadence.ms;
      case 'change':
        return sceneDistance(current.scene, scene) > this.cadence.scene;
      default:
        return false;
    }
  }

  /** By when a refresh from an observation should be there: before the next one is due. */
  due(observedAt: number): number {
    return observedAt + (this.cadence.when === 'interval' ? this.cadence.ms : 0);
  }

  /** The latest reasoning for this instruction. */
  current(instruction: string): CurrentReasoning | undefined {
    return this.latest?.instruction === instruction ? this.latest : undefined;
  }

  refreshStarted(): void {
    this.refreshing = true;
  }

  /** A refresh ended, with or without a result. */
  refreshEnded(): void {
    this.refreshing = false;
  }

  /** Takes a new reasoning unless a later observation's is there already. */
  accept(made: CurrentReasoning): void {
    if (this.latest === undefined || made.observedAt >= this.latest.observedAt) this.latest = made;
  }
}
