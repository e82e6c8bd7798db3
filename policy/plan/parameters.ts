import { plainProject, siglip, type LanguageModel } from '../backbones/index.ts';
import { conditionalUnet1d } from '../decoders/index.ts';
import { lora, type LoraConfig } from '../lora/index.ts';
import { collectParams, elements, type ParamSpec } from '../nn/params.ts';
import { causalBias } from '../tensor/index.ts';
import type { LargePreset } from './presets.ts';

/** Numbers of parameters, counted from the graphs of the models themselves. */
export interface PresetParameters {
  /** Matrices of the language model's layers, which may be quantised. */
  readonly languageLayers: number;
  /** Its embedding table, its output layer where that is another, and its norms and biases. */
  readonly languageRest: number;
  readonly vision: number;
  readonly resampler: number;
  readonly decoder: number;
  /** One embodiment's own layers. */
  readonly head: number;
}

export function countOf(specs: readonly Pick<ParamSpec, 'shape'>[]): number {
  return specs.reduce((sum, { shape }) => sum + elements(shape), 0);
}

/** Every parameter of a language model, output layer included. */
export function languageParameters(model: LanguageModel): ParamSpec[] {
  return collectParams((params, graph) => {
    const ids = graph.input('ids', 'int64', [1, 1]);
    const { hidden } = model.decode(params, {
      x: model.embed(params, ids),
      positions: graph.input('positions', 'int64', [model.shape.positionAxes, 1, 1]),
      mask: causalBias(graph, 1, 1),
    });
    model.logits(params, hidden);
  });
}

/** Parameters of one tenant's adapter. */
export function adapterParameters(model: LanguageModel, config: LoraConfig): number {
  const specs = collectParams((params, graph) => {
    model.decode(params, {
      x: graph.input('x', 'float32', [1, 1, model.shape.hidden]),
      positions: graph.input('positions', 'int64', [model.shape.positionAxes, 1, 1]),
      mask: causalBias(graph, 1, 1),
      project: lora(config, params, plainProject),
    });
  });
  return countOf(specs.filter(({ name }) => /\.lora_[AB]\.weight$/.test(name)));
}

export function presetParameters(preset: LargePreset): PresetParameters {
  const language = languageParameters(preset.language);
  const layers = language.filter(
    ({ name, shape }) => name.startsWith('model.layers.') && shape.length === 2,
  );
  const { vision, decoder } = preset;
  return {
    languageLayers: countOf(layers),
    languageRest: countOf(language) - countOf(layers),
    vision: countOf(
      collectParams((params, graph) => {
        const side = vision.image;
        siglip(params, vision, graph.input('pixels', 'float32', [1, vision.channels, side, side]));
      }),
    ),
    resampler: resamplerParameters(preset),
    decoder: countOf(
      collectParams((params, graph) => {
        const horizon = 2 ** decoder.channels.length;
        conditionalUnet1d(
          params,
          decoder,
          graph.input('x', 'float32', [1, horizon, decoder.actions]),
          graph.input('t', 'int64', [1]),
          graph.input('condition', 'float32', [1, preset.condition]),
        );
      }),
    ),
    head: headParameters(preset),
  };
}

/** Queries of both kinds of view, one attention over the patches, a projection to the language model. */
function resamplerParameters({ vision, tokens, language }: LargePreset): number {
  const width = vision.hidden;
  const attention = 4 * (width * width + width);
  const norms = 3 * 2 * width;
  const project = width * language.shape.hidden + language.shape.hidden;
  return (tokens.external + tokens.wrist) * width + attention + norms + project;
}

/** State encoder, action encoder and action decoder: two layers each. */
function headParameters({ head, condition, decoder }: LargePreset): number {
  const mlp = (input: number, out: number): number =>
    input * head.hidden + head.hidden + head.hidden * out + out;
  return (
    mlp(2 * head.dims, condition) +
    mlp(head.dims, decoder.actions) +
    mlp(decoder.actions, head.dims)
  );
}
