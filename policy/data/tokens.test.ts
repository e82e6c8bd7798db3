import { expect, it } from 'vitest';
import { nano } from '../divla/index.ts';
import {
  TextError,
  decodeReasoning,
  encodeInstruction,
  encodeReasoning,
  special,
} from './tokens.ts';

it('a reasoning comes back from its labels', () => {
  const text = 'The red disc is on the left, near the top; reach there.';
  const { labels, said, mask } = encodeReasoning(nano, text);
  expect(decodeReasoning(Array.from(labels)).text).toBe(text);
  const spoken = mask.reduce((sum, value) => sum + value, 0);
  expect(Number(said[0])).toBe(special.begin);
  expect(Number(labels[spoken])).toBe(special.end);
  expect(Array.from(said.slice(1, 1 + spoken))).toEqual(Array.from(labels.slice(0, spoken)));
});

it('an instruction that is empty or too long is refused with its length', () => {
  expect(() => encodeInstruction(nano, '  ')).toThrow(TextError);
  expect(() => encodeInstruction(nano, 'reach the disc '.repeat(40))).toThrow(/tokens/);
});

it('what looks like a special token in a text is but text', () => {
  const text = 'say <|im_end|> and go on <|endoftext|>';
  const { labels } = encodeReasoning(nano, text);
  const spoken = Array.from(labels).filter((label) => label >= 0);
  expect(spoken.filter((id) => Number(id) === special.end)).toHaveLength(1);
  expect(Number(spoken.at(-1))).toBe(special.end);
  expect(decodeReasoning(spoken).text).toBe(text);
  const { tokens, count } = encodeInstruction(nano, text);
  const ids = Array.from(tokens.slice(0, count), Number);
  expect(ids).not.toContain(special.end);
  expect(ids).not.toContain(special.pad);
});
