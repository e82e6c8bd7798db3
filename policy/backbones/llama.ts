import { z } from 'zod';
import { reshape, rotation, type Tensor } from '../tensor/index.ts';
import { causalDecoder } from './decoder.ts';
import { member, readFields, textFields } from './fields.ts';
import type { LanguageFamily } from './family.ts';

/**
 * Llama (Touvron et al. 2023) and models of its design: no biases unless `attention_bias` says so, one
 * rotary position a token. Scaled rotary frequencies (Llama 3.1) are refused.
 */
export const llama: LanguageFamily = {
  types: ['llama'],
  fromConfig(config) {
    const fields = readFields(
      textFields.extend(ownFields.shape),
      { num_key_value_heads: config['num_attention_heads'], ...config },
      'llama',
    );
    const { rope_theta: theta } = readFields(
      ropeFields,
      {
        rope_theta: config['rope_theta'],
        ...(member(config, 'rope_scaling') ?? {}),
        ...(member(config, 'rope_parameters') ?? {}),
      },
      'llama',
    );
    const headDim = fields.head_dim ?? fields.hidden_size / fields.num_attention_heads;
    return causalDecoder({
      shape: {
        hidden: fields.hidden_size,
        intermediate: fields.intermediate_size,
        layers: fields.num_hidden_layers,
        heads: fields.num_attention_heads,
        kvHeads: fields.num_key_value_heads,
        headDim,
        vocabulary: fields.vocab_size,
        tied: fields.tie_word_embeddings,
        positionAxes: 1,
      },
      normEps: fields.rms_norm_eps,
      qkvBias: fields.attention_bias,
      outBias: fields.attention_bias,
      rotation: (positions) => rotation(reshape(positions, onlyAxis(positions)), headDim, theta),
    });
  },
};

/** With what a field that is not there means, by the format itself (transformers' LlamaConfig). */
const ownFields = z.object({
  attention_bias: z.boolean().default(false),
  mlp_bias: z.literal(false).nullish(),
  tie_word_embeddings: z.boolean().default(false),
});

const ropeFields = z.object({
  rope_theta: z.number().positive().default(10_000),
  rope_type: z.literal('default').nullish(),
});

/** [1, B, T] → [B, T] */
function onlyAxis(positions: Tensor): number[] {
  return positions.shape.slice(1);
}
