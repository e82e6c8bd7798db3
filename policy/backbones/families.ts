import { ModelConfigError } from './errors.ts';
import type { LanguageFamily, LanguageModel } from './family.ts';
import { llama } from './llama.ts';
import { qwen2Vl } from './qwen2-vl.ts';

/** Every family that is known. */
const FAMILIES: readonly LanguageFamily[] = [qwen2Vl, llama];

/**
 * The language model that a config.json describes.
 * @throws ModelConfigError for a `model_type` that no family reads, or a field that does not fit.
 */
export function languageModel(config: Readonly<Record<string, unknown>>): LanguageModel {
  const type = config['model_type'];
  const family = FAMILIES.find(({ types }) => typeof type === 'string' && types.includes(type));
  if (family === undefined) {
    const known = FAMILIES.flatMap(({ types }) => types).join(', ');
    throw new ModelConfigError(`config.json: model_type: ${String(type)} is none of ${known}`);
  }
  return family.fromConfig(config);
}
