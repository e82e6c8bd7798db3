/** How folders written by different versions name the same tensors. */

const RENAMED: readonly (readonly [RegExp, string])[] = [
  [/^model\.language_model\./, 'model.'],
  [/^language_model\./, ''],
  [/^model\.visual\./, 'visual.'],
];

/** A tensor's name as published Qwen2-VL and Llama folders have it. */
export function languageName(name: string): string {
  for (const [old, now] of RENAMED) if (old.test(name)) return name.replace(old, now);
  return name;
}

/**
 * A tensor's name in a SigLIP vision encoder that stands alone; undefined for a tensor that is none of
 * the encoder's.
 * @param whole whether the folder holds a text encoder beside it
 */
export function siglipName(name: string, whole: boolean): string | undefined {
  const prefix = 'vision_model.';
  if (name.startsWith(prefix)) return name.slice(prefix.length);
  return whole ? undefined : name;
}
