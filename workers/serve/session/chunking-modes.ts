import { ArmatureError, type Chunking } from '@armature/sdk/contract';
import type { PolicyManifest } from '../policies/index.ts';

export type ChunkingMode = Chunking['mode'];

/** The ways of real-time chunking that a policy version can be asked for. */
export function chunkingModes(manifest: Pick<PolicyManifest, 'prefix_delay_max'>): ChunkingMode[] {
  return manifest.prefix_delay_max === undefined ? ['off', 'guided'] : ['off', 'guided', 'trained'];
}

/** @throws ArmatureError `invalid_request` naming `chunking.mode` where the policy has no such way. */
export function assertOffered(
  chunking: Chunking | undefined,
  offered: readonly ChunkingMode[],
): void {
  if (chunking === undefined || offered.includes(chunking.mode)) return;
  throw new ArmatureError(
    'invalid_request',
    `this policy version was not trained for chunks that are ${chunking.mode}`,
    {
      field: 'chunking.mode',
      fix: `Ask for one of: ${offered.join(', ')}; or fine-tune with prefix_delay_max.`,
    },
  );
}
