import { expect, it } from 'vitest';
import { ModelConfigError } from './errors.ts';
import { siglipShape } from './siglip.ts';

it('reads configs that say only what differs from the format’s defaults, as published ones do', () => {
  const large = siglipShape({
    model_type: 'siglip',
    vision_config: {
      hidden_size: 1152,
      image_size: 384,
      intermediate_size: 4304,
      model_type: 'siglip_vision_model',
      num_attention_heads: 16,
      num_hidden_layers: 27,
      patch_size: 14,
    },
  });
  expect(large).toEqual({
    hidden: 1152,
    intermediate: 4304,
    layers: 27,
    heads: 16,
    image: 384,
    patch: 14,
    channels: 3,
    activation: 'gelu_pytorch_tanh',
    normEps: 1e-6,
  });
  const base = siglipShape({
    model_type: 'siglip',
    vision_config: { model_type: 'siglip_vision_model' },
  });
  expect(base).toMatchObject({ hidden: 768, layers: 12, image: 224, patch: 16 });
});

it('takes nothing for granted of a config that is of no SigLIP', () => {
  expect(() => siglipShape({ model_type: 'vit', hidden_size: 768 })).toThrow(ModelConfigError);
});
