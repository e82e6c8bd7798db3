import {
  encodeActions,
  encodeInstruction,
  encodeReasoning,
  encodeState,
  fillNormal,
  fitNormalisation,
  seeded,
  type Normalisation,
} from '@armature/policy/data';
import { alphasCumprod, type DivlaConfig, type Signature } from '@armature/policy/divla';
import type { Value } from '@armature/policy/engine';
import { dimension, type Arm } from '../arm.ts';
import { embodimentOf, horizon, type Embodiment } from '../embodiments.ts';
import { sampleArm } from '../family.ts';
import { recordEpisode } from '../record.ts';
import type { Renderer } from '../render.ts';
import { createRng, type Rng } from '../rng.ts';
import { pretrainSample } from '../scenes.ts';

/** An arm of the family with its own head: a slot of the bank while the base is trained. */
export interface PretrainArm {
  readonly arm: Arm;
  readonly embodiment: Embodiment;
  readonly wrist: boolean;
  readonly normalisation: Normalisation;
}

const EPISODES_FOR_FIGURES = 12;

/** `count` arms of the family and the figures of their motion, from episodes of their own. */
export function pretrainArms(seed: number, count: number, renderer: Renderer): PretrainArm[] {
  return Array.from({ length: count }, (_, i) => {
    const rng = createRng(seed, 1, i);
    const arm = sampleArm(rng);
    const wrist = i % 2 === 1;
    const embodiment = embodimentOf(`pretrain-${i}`, arm, {
      top: { kind: 'external' },
      ...(wrist ? { wrist: { kind: 'wrist', field: 0.5, turns: true } as const } : {}),
    });
    const motions = Array.from({ length: EPISODES_FOR_FIGURES }, (_, e) => {
      return recordEpisode(createRng(seed, 3, i, e), embodiment, renderer);
    });
    return { arm, embodiment, wrist, normalisation: fitNormalisation(embodiment.spec, motions) };
  });
}

export interface BatchShape {
  readonly config: DivlaConfig;
  readonly signature: Signature;
  /** Pictures of each arm, instructions of each picture, spoken rows of each arm. */
  readonly pictures: number;
  readonly instructions: number;
  readonly spoken: number;
}

/**
 * A batch of scenes: every arm's pictures, and for each picture several instructions with the
 * expert's next actions for each.
 */
export function pretrainBatch(
  arms: readonly PretrainArm[],
  shape: BatchShape,
  renderer: Renderer,
  seed: number,
  step: number,
): Record<string, Value> {
  const { config, signature, pictures, instructions, spoken } = shape;
  const rng = createRng(seed, 2, step);
  const rows = arms.length * pictures * instructions;
  const views = signature.external + signature.wrist;
  const pixels = signature.width * signature.height * 3;
  const { dims } = config.head;
  const { textTokens, reasoningTokens } = config.language;
  const images = new Uint8Array(arms.length * pictures * views * pixels);
  const tokens = new BigInt64Array(rows * textTokens);
  const tokenMask = new Float32Array(rows * textTokens);
  const present = new Float32Array(rows * views);
  const state = new Float32Array(rows * dims);
  const clean = new Float32Array(rows * horizon * dims);
  const keep = new Float32Array(rows * horizon * dims);
  const target = new Float32Array(rows * views * 2);
  const visible = new Float32Array(rows * views);
  const said = new BigInt64Array(arms.length * spoken * reasoningTokens);
  const saidMask = new Float32Array(said.length);
  const labels = new BigInt64Array(said.length);

  let row = 0;
  let picture = 0;
  let speech = 0;
  for (const { arm, wrist, normalisation } of arms) {
    const width = dimension(arm);
    for (let p = 0; p < pictures; p++, picture++) {
      const sample = pretrainSample(rng, renderer, { arm, wrist });
      images.set(sample.image, picture * views * pixels);
      if (sample.wrist !== null) images.set(sample.wrist, (picture * views + 1) * pixels);
      const asked = sample.instructions;
      for (let i = 0; i < instructions; i++, row++) {
        const one = asked[i < asked.length ? i : rng.integer(0, asked.length - 1)];
        if (one === undefined) throw new RangeError('a scene has no object');
        const text = encodeInstruction(config, one.text);
        tokens.set(text.tokens, row * textTokens);
        tokenMask.set(text.mask, row * textTokens);
        present[row * views] = 1;
        visible[row * views] = 1;
        target.set([one.targetXY[0] * 2 - 1, one.targetXY[1] * 2 - 1], row * views * 2);
        if (wrist) {
          present[row * views + 1] = 1;
          if (one.wristXY !== null) {
            visible[row * views + 1] = 1;
            target.set([one.wristXY[0] * 2 - 1, one.wristXY[1] * 2 - 1], (row * views + 1) * 2);
          }
        }
        state.set(encodeState(normalisation, sample.state, dims), row * dims);
        encodeActions(
          normalisation,
          one.actions,
          0,
          horizon,
          sample.state,
          undefined,
          clean,
          row * horizon * dims,
          dims,
          config.diffusion.clip,
        );
        for (let k = 0; k < horizon; k++) {
          keep.fill(1, (row * horizon + k) * dims, (row * horizon + k) * dims + width);
        }
        if (p * instructions + i < spoken) {
          const words = encodeReasoning(config, one.reasoning);
          said.set(words.said, speech * reasoningTokens);
          saidMask.set(words.mask, speech * reasoningTokens);
          labels.set(words.labels, speech * reasoningTokens);
          speech++;
        }
      }
    }
  }
  const count = arms.length * spoken;
  return {
    images: {
      dtype: 'uint8',
      shape: [arms.length * pictures, views, signature.height, signature.width, 3],
      data: images,
    },
    tokens: { dtype: 'int64', shape: [rows, textTokens], data: tokens },
    token_mask: f32([rows, textTokens], tokenMask),
    present: f32([rows, views], present),
    state: f32([rows, dims], state),
    command: f32([rows, dims], new Float32Array(rows * dims)),
    known: f32([rows, 1], new Float32Array(rows)),
    clean: f32([rows, horizon, dims], clean),
    keep: f32([rows, horizon, dims], keep),
    target: f32([rows, views, 2], target),
    visible: f32([rows, views], visible),
    said: { dtype: 'int64', shape: [count, reasoningTokens], data: said },
    said_mask: f32([count, reasoningTokens], saidMask),
    labels: { dtype: 'int64', shape: [count, reasoningTokens], data: labels },
    ...noiseOf(rng, config, rows),
  };
}

function f32(shape: readonly number[], data: Float32Array): Value {
  return { dtype: 'float32', shape, data };
}

/** One noise draw a row and its level: t uniform over the training steps. */
function noiseOf(rng: Rng, config: DivlaConfig, rows: number): Record<string, Value> {
  const { dims } = config.head;
  const bars = alphasCumprod(config.diffusion.trainSteps);
  const random = seeded(rng.integer(0, 2 ** 31));
  const levels = new Float32Array(rows * 3);
  for (let i = 0; i < rows; i++) {
    const t = random.integer(config.diffusion.trainSteps);
    const bar = bars[t] as number;
    levels.set([t, Math.sqrt(bar), Math.sqrt(1 - bar)], i * 3);
  }
  return {
    noise: f32([rows, horizon, dims], fillNormal(random, new Float32Array(rows * horizon * dims))),
    levels: f32([rows, 3], levels),
  };
}
