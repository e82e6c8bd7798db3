import { type RecordedEpisode } from './recorded.ts';

/** Shapes of the chunks that are predicted: H steps of A actions from S joints. */
export interface ChunkShape {
  readonly horizon: number;
  readonly actions: number;
  readonly states: number;
}

/** Writes the chunk predicted at frame `t` into `into` [H, A], raw units. */
export type Baseline = (episode: RecordedEpisode, t: number, into: Float32Array) => void;

/** The training set's mean action, whatever the frame. */
export function meanAction(shape: ChunkShape, mean: readonly number[]): Baseline {
  return (_episode, _t, into) => {
    repeat(into, shape, (d) => mean[d]!);
  };
}

/**
 * The current state held for the whole chunk.
 *
 * @param stateOf for each action dimension the state dimension of the same joint, or null. Without
 *   one the robot cannot measure where it stands, so it holds its last command there, and the
 *   training set's mean in an episode's first frame.
 */
export function holdState(
  shape: ChunkShape,
  stateOf: readonly (number | null)[],
  mean: readonly number[],
): Baseline {
  return (episode, t, into) => {
    repeat(into, shape, (d) => {
      const joint = stateOf[d];
      if (joint !== null && joint !== undefined) return episode.state[t * shape.states + joint]!;
      return t > 0 ? episode.action[(t - 1) * shape.actions + d]! : mean[d]!;
    });
  };
}

/** The last command held, `action[t − 1]`; in an episode's first frame the state held. */
export function holdCommand(shape: ChunkShape, first: Baseline): Baseline {
  return (episode, t, into) => {
    if (t === 0) {
      first(episode, t, into);
      return;
    }
    repeat(into, shape, (d) => episode.action[(t - 1) * shape.actions + d]!);
  };
}

function repeat(into: Float32Array, shape: ChunkShape, value: (d: number) => number): void {
  for (let d = 0; d < shape.actions; d++) {
    const held = value(d);
    for (let h = 0; h < shape.horizon; h++) into[h * shape.actions + d] = held;
  }
}
