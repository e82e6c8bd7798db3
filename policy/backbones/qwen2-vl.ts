import { z } from 'zod';
import { multimodalRotation } from '../tensor/index.ts';
import { causalDecoder } from './decoder.ts';
import { ModelConfigError } from './errors.ts';
import { member, readFields, size, textFields } from './fields.ts';
import type { LanguageFamily, LanguageShape } from './family.ts';

/**
 * Qwen2-VL's language model (Wang et al. 2024): biases on q, k and v, and rotary positions of three
 * axes. Reads the flat config of published folders and the nested one that transformers 5 writes.
 */
export const qwen2Vl: LanguageFamily = {
  types: ['qwen2_vl'],
  fromConfig(config) {
    const text = member(config, 'text_config') ?? config;
    const fields = readFields(textFields, text, 'qwen2_vl');
    const { rope_theta: theta, mrope_section: sections } = readFields(
      ropeFields,
      { rope_theta: text['rope_theta'], ...ropeOf(text) },
      'qwen2_vl',
    );
    const tied = readFields(
      z.boolean(),
      config['tie_word_embeddings'] ?? text['tie_word_embeddings'],
      'qwen2_vl: tie_word_embeddings',
    );
    const headDim = fields.head_dim ?? fields.hidden_size / fields.num_attention_heads;
    if (2 * sections.reduce((a, b) => a + b, 0) !== headDim) {
      throw new ModelConfigError(
        `config.json of qwen2_vl: mrope_section: ${sections.join('+')} is not half the head width ${headDim}`,
      );
    }
    const shape: LanguageShape = {
      hidden: fields.hidden_size,
      intermediate: fields.intermediate_size,
      layers: fields.num_hidden_layers,
      heads: fields.num_attention_heads,
      kvHeads: fields.num_key_value_heads,
      headDim,
      vocabulary: fields.vocab_size,
      tied,
      positionAxes: 3,
    };
    return causalDecoder({
      shape,
      normEps: fields.rms_norm_eps,
      qkvBias: true,
      outBias: false,
      rotation: (positions) => multimodalRotation(positions, headDim, theta, sections),
    });
  },
};

const ropeFields = z.object({
  rope_theta: z.number().positive(),
  mrope_section: z.tuple([size, size, size]),
});

/** The rotary settings: `rope_parameters` (transformers 5) or `rope_scaling` (published folders). */
function ropeOf(text: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return member(text, 'rope_parameters') ?? member(text, 'rope_scaling') ?? {};
}
