import { Tokenizer } from '@huggingface/tokenizers';

/** Files that describe no tokenizer, or a token that it does not have. */
export class TokenizerError extends Error {
  override readonly name = 'TokenizerError';
}

export interface TextTokenizer {
  /** Ids and the tokens they stand for, in the byte-level alphabet; special tokens are found in the text. */
  encode(text: string): { readonly ids: readonly number[]; readonly tokens: readonly string[] };
  /**
   * Bytes that are no whole character become U+FFFD.
   * @param skipSpecial leaves special tokens out
   */
  decode(ids: readonly number[], skipSpecial?: boolean): string;
  /** @throws TokenizerError for a token that is not in the vocabulary. */
  idOf(token: string): number;
}

/**
 * @param vocabulary what tokenizer.json holds
 * @param settings what tokenizer_config.json holds
 * @throws TokenizerError when they do not describe a tokenizer.
 */
export function textTokenizer(vocabulary: unknown, settings: unknown): TextTokenizer {
  const tokenizer = build(vocabulary, settings);
  return {
    encode(text) {
      const { ids, tokens } = tokenizer.encode(text);
      return { ids, tokens };
    },
    // The library refuses an empty list.
    decode: (ids, skipSpecial = false) =>
      ids.length === 0 ? '' : tokenizer.decode([...ids], { skip_special_tokens: skipSpecial }),
    idOf(token) {
      const id = tokenizer.token_to_id(token);
      if (id === undefined) throw new TokenizerError(`the tokenizer has no token ${token}`);
      return id;
    },
  };
}

function build(vocabulary: unknown, settings: unknown): Tokenizer {
  if (typeof vocabulary !== 'object' || vocabulary === null) {
    throw new TokenizerError('tokenizer.json is no object');
  }
  if (typeof settings !== 'object' || settings === null) {
    throw new TokenizerError('tokenizer_config.json is no object');
  }
  try {
    return new Tokenizer(vocabulary, settings);
  } catch (error) {
    throw new TokenizerError(`the files describe no tokenizer: ${String(error)}`);
  }
}
