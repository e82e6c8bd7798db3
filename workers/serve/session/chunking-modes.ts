import { ArmatureError, type Chunking } from '@armature/sdk/contract';
import type { PolicyManifest } from '../policies/index.ts';

export type ChunkingMode = Chunking['mode'];

/**
 * The ways of real-time chunking that a policy version can be asked for.
 * @param worker what the worker has graphs for
 */
export function chunkingModes(
  manifest: Pick<PolicyManifest, 'prefix_delay_max'>,
  worker: { readonly pulledBack: boolean },
): ChunkingMode[] {
  return [
    'off',
    'guided',
    ...(worker.pulledBack ? (['pulled_back'] as const) : []),
    ...(manifest.prefix_delay_max === undefined ? [] : (['trained'] as const)),
  ];
}

/** @throws ArmatureError `invalid_request` naming `chunking.mode` where that way is not offered. */
export function assertOffered(
  chunking: Chunking | undefined,
  offered: readonly ChunkingMode[],
): void {
  if (chunking === undefined || offered.includes(chunking.mode)) return;
  const [why, remedy] =
    chunking.mode === 'trained'
      ? ['this policy version was not trained for', 'fine-tune with prefix_delay_max']
      : ['this worker has no graphs for', 'start it with GUIDANCE_PULLED_BACK=on'];
  throw new ArmatureError('invalid_request', `${why} chunks that are ${chunking.mode}`, {
    field: 'chunking.mode',
    fix: `Ask for one of: ${offered.join(', ')}; or ${remedy}.`,
  });
}
