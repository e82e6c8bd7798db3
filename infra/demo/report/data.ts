import type { Evaluation } from '@armature/sdk/contract';
import type { DemoSummary } from '../summary.ts';

export interface LossPoint {
  readonly step: number;
  readonly loss: number;
  /** null where the job did not tell it apart. */
  readonly action_loss: number | null;
  readonly reasoning_loss: number | null;
}

export interface Training {
  readonly name: string;
  readonly points: readonly LossPoint[];
}

/** A picture as the page carries it. */
export interface Picture {
  readonly type: 'image/jpeg' | 'image/png';
  readonly bytes: Uint8Array;
}

/** One moment of a streamed episode, with the reasoning that was current. */
export interface StripFrame {
  readonly at_s: number;
  readonly picture: Picture;
  readonly reasoning: string | null;
}

export interface Rate {
  readonly name: string;
  readonly rate: number;
  /** Wilson interval, 95 %. */
  readonly interval: readonly [number, number];
}

export interface SimulatedEpisode {
  readonly instruction: string;
  readonly success: boolean;
  readonly frames: readonly {
    readonly step: number;
    readonly picture: Picture;
    readonly reasoning: string | null;
  }[];
}

export interface ClosedLoop {
  readonly embodiment: string;
  /** What the arm is, in a few words. */
  readonly description: string;
  readonly n: number;
  readonly rates: readonly Rate[];
  readonly curve: readonly { readonly demos: number; readonly rate: Rate }[];
  readonly episodes: readonly SimulatedEpisode[];
}

/** All that the report shows. */
export interface ReportData {
  readonly title: string;
  readonly lead: string;
  /** The command that makes the same report. */
  readonly command: string;
  readonly machine: string;
  readonly date: string;
  readonly summary: DemoSummary;
  readonly trainings: readonly Training[];
  readonly evaluation: Evaluation | null;
  readonly strip: readonly StripFrame[];
  /** Milliseconds from sending an observation to its chunk, one a chunk. */
  readonly latencies: readonly number[];
  readonly closedLoop: readonly ClosedLoop[];
}
