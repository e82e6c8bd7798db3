import { longestPrefix, movesAllOf } from '@armature/sdk/contract';
import { canonicalJson, type PolicyManifest } from '../checkpoint/index.ts';
import {
  PREPROCESS_HASH,
  fitNormalisation,
  fitVelocity,
  outsideOf,
  type Motion,
  type Normalisation,
} from '../data/index.ts';
import type { Engine } from '../engine/index.ts';
import { orderedCameras, signatureOf } from './episodes.ts';
import { FinetuneError, type FinetuneInput, type MixedFinetuneInput } from './finetune-input.ts';
import { trainsOnPictures, type ResolvedFinetuneOptions } from './options.ts';

/** What may be trained on what: every refusal of a fine-tune before it starts, and its normalisation. */

/** The same error of one of several embodiments. */
export function ofMember(slot: number, error: unknown): unknown {
  if (!(error instanceof FinetuneError)) return error;
  return new FinetuneError(error.message, `members.${slot}.${error.field}`);
}

export function checkMixture({ members, options }: MixedFinetuneInput): void {
  const [first, ...others] = members;
  if (first === undefined || others.length === 0) {
    throw new FinetuneError('a mixture has two embodiments or more', 'members');
  }
  if (options.mode === 'head') {
    throw new FinetuneError(
      'heads share nothing that moves: fine-tune each embodiment by itself',
      'options.mode',
    );
  }
  const signature = signatureOf(first.spec);
  others.forEach(({ spec }, i) => {
    if (canonicalJson(signatureOf(spec)) === canonicalJson(signature)) return;
    throw new FinetuneError(
      `${spec.name} has other views, picture sizes or another horizon than ${first.spec.name}`,
      `members.${i + 1}.embodiment.spec`,
    );
  });
  const { batchSize, passes } = options;
  const apart = members.length * passes;
  if (batchSize % apart === 0) return;
  const least = Math.ceil(batchSize / apart) * apart;
  throw new FinetuneError(
    `a batch of ${batchSize} samples does not divide among ${members.length} embodiments${passes === 1 ? '' : ` in ${passes} shares`}: use ${least}`,
    'options.batch_size',
  );
}

export function checkInput({ engine, base, spec, episodes, options }: FinetuneInput): void {
  checkFrozenWeights(engine, options);
  const { dims } = base.config.head;
  const { maxViews } = base.config;
  const cameras = orderedCameras(spec);
  const most = longestPrefix(spec);
  if (options.prefixDelayMax > most) {
    throw new FinetuneError(
      `a prefix may have up to ${most} of the ${spec.horizon} actions of a chunk, got ${options.prefixDelayMax}`,
      'options.prefix_delay_max',
    );
  }
  if (episodes.length === 0) throw new FinetuneError('the set has no episodes', 'dataset_id');
  for (const [field, strength] of [
    ['options.random_crop', options.augment.crop],
    ['options.colour_jitter', options.augment.colour],
  ] as const) {
    if (strength > 0 && !trainsOnPictures(options.mode)) {
      throw new FinetuneError(
        `mode ${options.mode} trains on features that are computed once, of pictures as they are`,
        field,
      );
    }
  }
  if (spec.state.length > dims || spec.action.length > dims) {
    throw new FinetuneError(
      `${base.config.name} takes at most ${dims} state and action dimensions`,
      'embodiment.spec',
    );
  }
  if (cameras.external > maxViews.external || cameras.wrist > maxViews.wrist) {
    throw new FinetuneError(
      `${base.config.name} takes at most ${maxViews.external} external and ${maxViews.wrist} wrist views`,
      'embodiment.spec.cameras',
    );
  }
  for (const { index, length, state, action } of episodes) {
    if (state.length !== length * spec.state.length) {
      throw new FinetuneError(
        `episode ${index} has states of another dimension than the embodiment's ${spec.state.length}`,
        'embodiment.spec.state',
      );
    }
    if (action.length !== length * spec.action.length) {
      throw new FinetuneError(
        `episode ${index} has actions of another dimension than the embodiment's ${spec.action.length}`,
        'embodiment.spec.action',
      );
    }
    if (length === 0) throw new FinetuneError(`episode ${index} has no frames`, 'dataset_id');
    checkNumbers(index, 'state', state, spec.state);
    checkNumbers(index, 'action', action, spec.action);
  }
}

function checkNumbers(
  episode: number,
  feature: 'state' | 'action',
  values: Float32Array,
  joints: readonly { readonly name: string }[],
): void {
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at < 0) return;
  const { name } = joints[at % joints.length] as { readonly name: string };
  throw new FinetuneError(
    `episode ${episode}, frame ${Math.floor(at / joints.length)}: ${feature} ${name} is ${String(values[at])}, not a finite number`,
    'dataset_id',
  );
}

/** Quantised layers have no gradients, and are products that other providers do in another way. */
function checkFrozenWeights(
  engine: Engine,
  { mode, frozenWeights }: ResolvedFinetuneOptions,
): void {
  if (frozenWeights === undefined) return;
  const field = 'options.frozen_weights';
  if (trainsOnPictures(mode)) {
    throw new FinetuneError(
      `mode ${mode} trains through layers that ${frozenWeights} freezes`,
      field,
    );
  }
  if (engine.executionProvider !== 'cpu') {
    throw new FinetuneError(
      `${frozenWeights} is for CPUs, this is ${engine.executionProvider}`,
      field,
    );
  }
}

/**
 * How numbers are normalised: as the set says, or as the version did that training goes on from,
 * since its weights mean what they mean in its figures alone.
 */
export function normalisationFor(input: FinetuneInput, trained: readonly Motion[]): Normalisation {
  const { from, spec, base } = input;
  if (from === undefined) return freshNormalisation(input, trained);
  checkStart(input, from.manifest);
  const { normalisation } = from.manifest;
  const [worst] = outsideOf(normalisation, spec, trained, base.config.diffusion.clip);
  if (worst === undefined) return normalisation;
  throw new FinetuneError(
    `${(worst.share * 100).toFixed(1)} % of ${worst.feature} ${worst.name} lies outside of what the version to go on from can express`,
    FROM,
  );
}

function freshNormalisation(
  { spec, options }: FinetuneInput,
  trained: readonly Motion[],
): Normalisation {
  const normalisation = fitNormalisation(spec, trained);
  const byCommand = normalisation.action.some(({ reference }) => reference === 'last_command');
  if (options.velocity === 'ignore' || byCommand) return normalisation;
  if (trained.every(({ length }) => length <= spec.horizon / 2)) {
    throw new FinetuneError(
      `velocities need an episode of more than ${spec.horizon / 2} frames`,
      'options.velocity',
    );
  }
  return { ...normalisation, velocity: fitVelocity(spec, trained, normalisation.state.std) };
}

/** Field that names the version to go on from. */
const FROM = 'options.base_policy_version_id';

function checkStart({ base, spec, options }: FinetuneInput, manifest: PolicyManifest): void {
  if (manifest.base_digest !== base.digest) {
    throw new FinetuneError('the version to go on from was made from another base model', FROM);
  }
  if (manifest.preprocess_hash !== PREPROCESS_HASH) {
    throw new FinetuneError('the version to go on from has another pre-processing', FROM);
  }
  if (canonicalJson(manifest.spec) !== canonicalJson(spec)) {
    throw new FinetuneError(
      'the version to go on from is of another embodiment or has other references',
      FROM,
    );
  }
  if (!movesAllOf(options.mode, manifest.mode)) {
    throw new FinetuneError(
      `a version of mode ${manifest.mode} moved more than mode ${options.mode} keeps`,
      FROM,
    );
  }
  if (manifest.frozen_weights !== options.frozenWeights) {
    throw new FinetuneError(
      `the version to go on from was trained on features of frozen layers in ${manifest.frozen_weights ?? 'float32'}`,
      FROM,
    );
  }
  const goesOn = options.lora !== undefined && manifest.lora !== undefined;
  if (goesOn && canonicalJson(manifest.lora) !== canonicalJson(options.lora)) {
    throw new FinetuneError('the version to go on from has pairs of another kind', FROM);
  }
}
