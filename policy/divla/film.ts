import { add, concat, mish, mul, reshape, slice, type Tensor } from '../tensor/index.ts';
import { dense } from '../nn/layers.ts';
import { zeros, type Params } from '../nn/params.ts';
import type { DivlaConfig } from './config.ts';

/** Scales and shifts of every block side by side: [..., 2·Σ], scales first. */
export type Film = Tensor;

/** The U-Net's residual blocks by name with the channels that each modulates. */
export function modulatedBlocks(config: DivlaConfig): { name: string; width: number }[] {
  const [c0, c1] = config.decoder.channels;
  return [
    { name: 'down0', width: c0 },
    { name: 'down1', width: c1 },
    { name: 'middle', width: c1 },
    { name: 'up0', width: c0 },
    { name: 'up1', width: c0 },
  ];
}

export function filmWidth(config: DivlaConfig): number {
  return modulatedBlocks(config).reduce((sum, block) => sum + block.width, 0);
}

/** Modulation by the condition [R, E] → [R, 2·Σ]. */
export function conditionFilm(p: Params, config: DivlaConfig, condition: Tensor): Film {
  return dense(p.scope('film.condition'), mish(condition), 2 * filmWidth(config));
}

/** Modulation by the diffusion step's vector [N, E] → [N, 2·Σ]. */
export function stepFilm(p: Params, config: DivlaConfig, step: Tensor): Film {
  return dense(p.scope('film.step'), mish(step), 2 * filmWidth(config));
}

/** Modulation by the reasoning [R, D] → [R, 2·Σ]; it starts without a voice (zero) and learns one. */
export function reasoningFilm(p: Params, config: DivlaConfig, reasoning: Tensor): Film {
  return dense(p.scope('film.reasoning'), reasoning, 2 * filmWidth(config), { init: zeros });
}

/** Scale and shift to apply, [N, 1, Σ] each. */
export interface Modulation {
  readonly scale: Tensor;
  readonly shift: Tensor;
}

/**
 * x·(1 + a) + b by condition and step, then y·(1 + c) + d by the reasoning, as one scale and shift.
 * @param base [N, 2·Σ]: condition and step added
 * @param spoken [N, 2·Σ]
 */
export function combineFilm(config: DivlaConfig, base: Film, spoken: Film): Modulation {
  const width = filmWidth(config);
  const part = (film: Film, i: 0 | 1): Tensor =>
    reshape(slice(film, 1, i * width, (i + 1) * width), [film.shape[0] ?? 1, 1, width]);
  const voice = add(part(spoken, 0), 1);
  return {
    scale: mul(add(part(base, 0), 1), voice),
    shift: add(mul(part(base, 1), voice), part(spoken, 1)),
  };
}

/** What the modulation has of condition and reasoning, which all denoising steps share: [R, 2·Σ] each. */
export interface SteadyFilm {
  readonly factor: Film;
  readonly offset: Film;
}

/** Condition and reasoning joined once, so that a step has one product and one sum left to do. */
export function steadyFilm(config: DivlaConfig, still: Film, spoken: Film): SteadyFilm {
  const width = filmWidth(config);
  const voice = add(slice(spoken, 1, 0, width), 1);
  const factor = concat([voice, voice], 1);
  const scale = mul(add(slice(still, 1, 0, width), 1), voice);
  const shift = add(
    mul(slice(still, 1, width, 2 * width), voice),
    slice(spoken, 1, width, 2 * width),
  );
  return { factor, offset: concat([scale, shift], 1) };
}

/** As `combineFilm` of condition plus step. @param step [1 or R, 2·Σ] */
export function modulationAt(config: DivlaConfig, steady: SteadyFilm, step: Film): Modulation {
  const width = filmWidth(config);
  const both = add(mul(step, steady.factor), steady.offset);
  const shaped = reshape(both, [both.shape[0] ?? 1, 1, 2 * width]);
  return { scale: slice(shaped, 2, 0, width), shift: slice(shaped, 2, width, 2 * width) };
}

/** A block's own share of the modulation. */
export function blockFilm(config: DivlaConfig, modulation: Modulation, name: string): Modulation {
  let start = 0;
  for (const block of modulatedBlocks(config)) {
    if (block.name === name) {
      return {
        scale: slice(modulation.scale, 2, start, start + block.width),
        shift: slice(modulation.shift, 2, start, start + block.width),
      };
    }
    start += block.width;
  }
  throw new RangeError(`the decoder has no block ${name}`);
}
