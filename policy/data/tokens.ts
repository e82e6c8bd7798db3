import { Tokenizer } from '@huggingface/tokenizers';
import vocabulary from '../divla/assets/tokenizer/tokenizer.json' with { type: 'json' };
import settings from '../divla/assets/tokenizer/tokenizer_config.json' with { type: 'json' };
import type { DivlaConfig, ReasoningTokens } from '../divla/index.ts';

/** A text that the model cannot read. */
export class TextError extends Error {
  override readonly name = 'TextError';
}

const tokenizer = new Tokenizer(vocabulary, settings);

function idOf(token: string): number {
  const id = tokenizer.token_to_id(token);
  if (id === undefined) throw new TextError(`the tokenizer has no token ${token}`);
  return id;
}

/** Ids of a text in which what looks like a special token is but text. */
function idsOf(text: string): number[] {
  // Taken apart after the bracket that each of them begins with.
  return text.split(/(?<=<)(?=\|)/).flatMap((part) => tokenizer.encode(part).ids);
}

/** The special tokens that frame a reasoning. */
export const special: ReasoningTokens = {
  begin: idOf('<|im_start|>'),
  end: idOf('<|im_end|>'),
  pad: idOf('<|endoftext|>'),
};

export interface EncodedText {
  /** i64 [T], padded. */
  readonly tokens: BigInt64Array;
  /** f32 [T], 1 for a token. */
  readonly mask: Float32Array;
  readonly count: number;
}

const encoded = new Map<string, EncodedText>();
const REMEMBERED = 4096;

/**
 * An instruction as padded tokens.
 * @throws TextError when it is empty or longer than the model reads.
 */
export function encodeInstruction(config: DivlaConfig, text: string): EncodedText {
  const key = `${config.language.textTokens}:${text}`;
  const known = encoded.get(key);
  if (known !== undefined) return known;
  const ids = idsOf(text.trim());
  const length = config.language.textTokens;
  if (ids.length === 0) throw new TextError('the instruction is empty; say what to do');
  if (ids.length > length) {
    throw new TextError(
      `the instruction has ${ids.length} tokens, ${config.name} reads at most ${length}; shorten it`,
    );
  }
  const tokens = new BigInt64Array(length).fill(BigInt(special.pad));
  const mask = new Float32Array(length);
  ids.forEach((id, i) => {
    tokens[i] = BigInt(id);
    mask[i] = 1;
  });
  const result = { tokens, mask, count: ids.length };
  if (encoded.size >= REMEMBERED) encoded.clear();
  encoded.set(key, result);
  return result;
}

export interface EncodedReasoning {
  /** i64 [R]: begin, then the reasoning, padded. */
  readonly said: BigInt64Array;
  /** f32 [R]: 1 for the reasoning's own tokens. */
  readonly mask: Float32Array;
  /** i64 [R]: the next token of each position; -100 where none counts. */
  readonly labels: BigInt64Array;
}

/** A reasoning for teacher forcing; what is longer than the model speaks is cut at its end. */
export function encodeReasoning(config: DivlaConfig, text: string): EncodedReasoning {
  const length = config.language.reasoningTokens;
  const ids = idsOf(text.trim()).slice(0, length - 1);
  const said = new BigInt64Array(length).fill(BigInt(special.pad));
  const mask = new Float32Array(length);
  const labels = new BigInt64Array(length).fill(-100n);
  said[0] = BigInt(special.begin);
  ids.forEach((id, i) => {
    said[i + 1] = BigInt(id);
    mask[i + 1] = 1;
    labels[i] = BigInt(id);
  });
  labels[ids.length] = BigInt(special.end);
  return { said, mask, labels };
}

/** Generated ids, up to the end token, as text. */
export function decodeReasoning(ids: readonly bigint[]): { text: string; tokens: number } {
  const end = ids.findIndex((id) => Number(id) === special.end || Number(id) === special.pad);
  const spoken = (end < 0 ? ids : ids.slice(0, end)).map(Number);
  return {
    text: spoken.length === 0 ? '' : tokenizer.decode(spoken, { skip_special_tokens: true }),
    tokens: spoken.length,
  };
}
