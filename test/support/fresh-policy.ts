import { writeWeights, type BaseModel } from '@armature/policy/checkpoint';
import type { Engine } from '@armature/policy/engine';
import type { ActRow, PolicyHandle } from '@armature/policy/runtime';
import { Finetune, resolveOptions, type FinishedPolicy } from '@armature/policy/train';
import { TRUNK_LORA, trunkPairs } from '../../policy/lora/index.ts';
import { initialValues } from '../../policy/nn/params.ts';
import { plainStats, shippedBase, smallEpisodes, smallSpec } from './small-policy.ts';

/** A version with a head of random weights, of a small embodiment. */
export async function freshPolicy(
  engine: Engine,
  joints: number,
  seed: number,
  options: { wrist?: boolean; prefix?: number; velocity?: 'use' | 'ignore' } = {},
): Promise<FinishedPolicy> {
  const spec = smallSpec(joints, { wrist: options.wrist === true });
  const names = spec.action.map((joint) => joint.name);
  const finetune = await Finetune.create({
    engine,
    base: shippedBase(),
    spec,
    stats: { state: plainStats(names), action: plainStats(names) },
    episodes: smallEpisodes(spec, 2),
    options: resolveOptions({
      mode: 'head',
      steps: 0,
      seed,
      images: 'use',
      labels: 'none',
      prefix_delay_max: options.prefix,
      velocity: options.velocity ?? 'ignore',
    }),
  });
  return finetune.finish();
}

/** The version with trained-looking low-rank pairs beside the trunk. */
export function withPairs(base: BaseModel, policy: FinishedPolicy, seed: number): FinishedPolicy {
  const specs = trunkPairs(TRUNK_LORA, base.trunkSpecs);
  const values = new Map(
    specs.map((spec) => {
      const init = { kind: 'normal', std: 0.05 } as const;
      return [spec.name, initialValues({ ...spec, init }, seed)] as const;
    }),
  );
  const weightOf = (name: string): Float32Array => values.get(name) ?? new Float32Array();
  const manifest = { ...policy.manifest, mode: 'lora', lora: TRUNK_LORA } as const;
  const files = { ...policy.files, 'lora.safetensors': writeWeights(specs, weightOf, 'F32', {}) };
  return { digest: `pairs ${seed}`, manifest, files };
}

/** What a robot of the version asks at frame `t` of a small episode. */
export function rowOf(policy: PolicyHandle, t: number): ActRow {
  const { spec } = policy.manifest;
  const [episode] = smallEpisodes(spec, 1);
  if (episode === undefined) throw new RangeError('no episode');
  const width = spec.state.length;
  return {
    policy,
    images: Object.fromEntries(
      spec.cameras.map((camera) => [camera.name, episode.image(camera.name, t)]),
    ),
    instruction: t % 2 === 0 ? 'reach the red disc' : 'go to the blue object',
    state: episode.state.slice(t * width, (t + 1) * width),
    seed: t,
    sampler: { steps: 4, noise_scale: 1 },
  };
}
