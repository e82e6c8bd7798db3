/** Texts to token ids and back. */
export { TokenizerError, textTokenizer } from './text-tokenizer.ts';
export type { TextTokenizer } from './text-tokenizer.ts';
