import type { LanguageModel } from '../backbones/index.ts';
import { OWN_SCOPE, largeParams, type LargeConfig } from '../divla/large/index.ts';
import { collectParams, elements, type ParamSpec } from '../nn/params.ts';
import { causalBias } from '../tensor/index.ts';

/** Numbers of parameters, counted from the graphs of the models themselves. */
export interface PresetParameters {
  /** Matrices of the language model's layers, which may be quantised. */
  readonly languageLayers: number;
  /** Its embedding table, its output layer where that is another, and its norms and biases. */
  readonly languageRest: number;
  readonly vision: number;
  /** What joins the parts: resampler, projector, the reasoning's injection, the condition's layer. */
  readonly joints: number;
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

export function presetParameters(config: LargeConfig): PresetParameters {
  const { shared, head } = largeParams(config);
  const under = (...scopes: readonly string[]): ParamSpec[] =>
    shared.filter(({ name }) => scopes.some((scope) => name.startsWith(`${scope}.`)));
  const language = under('model', 'lm_head');
  const layers = language.filter(
    ({ name, shape }) => name.startsWith('model.layers.') && shape.length === 2,
  );
  const decoder = under(`${OWN_SCOPE}.decoder`);
  return {
    languageLayers: countOf(layers),
    languageRest: countOf(language) - countOf(layers),
    vision: countOf(under('vision_model', 'visual')),
    joints: countOf(under(OWN_SCOPE)) - countOf(decoder),
    decoder: countOf(decoder),
    head: countOf(head),
  };
}
