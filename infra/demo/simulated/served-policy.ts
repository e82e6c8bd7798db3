import { type Armature, type Chunk, connectRobot } from '@armature/sdk';
import type { EmbodimentSpec } from '@armature/sdk/contract';
import type { PolicyPort } from '@armature/sim';

const FASTEST_HZ = 1000;
/** A hundred episodes at a time: reasoning is renewed beside the chunks, not for each of them. */
const REASONING = { when: 'interval', ms: 1000 } as const;
/** The simulator waits as long as a busy machine takes. */
const PATIENCE_MS = 120_000;

/** What all sessions of a port counted together. */
export interface PortCount {
  chunks: number;
  actions: number;
}

/** A served policy for the simulator's closed loop: one robot session an episode. */
export function servedPolicy(options: {
  readonly client: Armature;
  readonly spec: EmbodimentSpec;
  readonly embodimentId: string;
  readonly policyVersionId: string;
  readonly count: PortCount;
}): PolicyPort {
  const { client, spec, count } = options;
  return async ({ instruction, episode }) => {
    const session = await connectRobot({
      client,
      embodiment: spec,
      session: {
        robot: `${spec.name}-${episode}`,
        embodiment_id: options.embodimentId,
        policy_version_id: options.policyVersionId,
        // The simulator's clock stands still while it waits, so that its rate is not the arm's.
        max_hz: FASTEST_HZ,
        reasoning: REASONING,
      },
      requestTimeoutMs: PATIENCE_MS,
    });
    let last: Chunk<EmbodimentSpec> | undefined;
    return {
      act: async ({ images, state, executed }) => {
        if (last !== undefined && executed !== undefined) session.report(last, executed.steps);
        const chunk = await session.act({
          instruction,
          state,
          images: Object.fromEntries(
            Object.entries(images).map(([name, pixels]) => [name, { pixels }]),
          ),
        });
        last = chunk;
        count.chunks += 1;
        count.actions += chunk.rows.length;
        const text = chunk.reasoning?.text;
        return {
          actions: chunk.actions,
          chunkId: chunk.chunkId,
          ...(text === undefined ? {} : { reasoning: text }),
        };
      },
      close: () => session.close(),
    };
  };
}
