import { z } from 'zod';
import { ModelConfigError, languageName } from '../backbones/index.ts';

/** What an adapter is made of. */
export interface LoraConfig {
  readonly rank: number;
  /** Factor of the adapter's part: alpha/r. */
  readonly scaling: number;
  /** Last parts of the names of the layers that have one, e.g. `q_proj`. */
  readonly targets: readonly string[];
}

const fields = z.object({
  peft_type: z.literal('LORA'),
  r: z.number().int().positive(),
  lora_alpha: z.number().positive(),
  target_modules: z.array(z.string()).min(1),
  use_rslora: z.boolean().nullish(),
  use_dora: z.literal(false).nullish(),
  bias: z.literal('none'),
  fan_in_fan_out: z.literal(false).nullish(),
  rank_pattern: z.record(z.string(), z.never()).nullish(),
  alpha_pattern: z.record(z.string(), z.never()).nullish(),
});

/**
 * An adapter_config.json as peft writes it.
 * @throws ModelConfigError for a kind of adapter that is not plain LoRA, naming the field.
 */
export function adapterConfig(json: unknown): LoraConfig {
  const result = fields.safeParse(json);
  if (!result.success) {
    const [issue] = result.error.issues;
    const field = issue?.path.join('.') ?? '';
    throw new ModelConfigError(`adapter_config.json: ${field}: ${issue?.message ?? ''}`);
  }
  const { r, lora_alpha: alpha, target_modules: targets, use_rslora: stable } = result.data;
  return { rank: r, scaling: alpha / (stable === true ? Math.sqrt(r) : r), targets };
}

/** The backbone's name of an adapter's tensor, whose peft name begins with `base_model.model.`. */
export function adapterName(name: string): string {
  return languageName(name.replace(/^base_model\.model\./, ''));
}
