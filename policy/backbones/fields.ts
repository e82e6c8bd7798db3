import { z } from 'zod';
import { ModelConfigError } from './errors.ts';

/** What configs of every family have in common. */
export const size = z.number().int().positive();

/** Fields of a decoder-only text model as transformers names them. */
export const textFields = z.object({
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  num_key_value_heads: size,
  head_dim: size.nullish(),
  vocab_size: size,
  rms_norm_eps: z.number().positive(),
  hidden_act: z.literal('silu'),
  use_sliding_window: z.literal(false).nullish(),
});

/** Reads a config's fields. Throws ModelConfigError that names the first one that does not fit. */
export function readFields<T>(schema: z.ZodType<T>, config: unknown, of: string): T {
  const result = schema.safeParse(config);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const path = issue?.path.join('.') ?? '';
  throw new ModelConfigError(`config.json of ${of}: ${path}: ${issue?.message ?? 'does not fit'}`);
}

/** A member of a config that is itself an object; undefined where it is absent. */
export function member(
  config: Readonly<Record<string, unknown>>,
  name: string,
): Readonly<Record<string, unknown>> | undefined {
  const value = config[name];
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}
