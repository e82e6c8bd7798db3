import { expect, it } from 'vitest';
import { readFixtureJson } from '../../test/support/fixtures.ts';
import { holdEqual } from '../../test/support/parity.ts';
import { TokenizerError, textTokenizer } from './index.ts';

interface Cases {
  special: Record<string, number>;
  cases: {
    text: string;
    ids: number[];
    tokens: string[];
    decoded: string;
    decoded_skip_special: string;
  }[];
  partial_decodes: { ids: number[]; decoded: string }[];
}

const reference = (await readFixtureJson('tokenizer', 'cases.json')) as Cases;
const tokenizer = textTokenizer(
  await readFixtureJson('tokenizer', 'tokenizer.json'),
  await readFixtureJson('tokenizer', 'tokenizer_config.json'),
);
const label = (quantity: string, detail: string) => ({
  fixture: 'tokenizer',
  quantity,
  detail: JSON.stringify(detail.slice(0, 24)),
});

it('reads and writes every text as the reference does', () => {
  expect(reference.cases.length).toBeGreaterThan(0);
  for (const one of reference.cases) {
    const { ids, tokens } = tokenizer.encode(one.text);
    holdEqual(label('ids', one.text), ids, one.ids);
    holdEqual(label('tokens', one.text), tokens, one.tokens);
    holdEqual(label('decoded', one.text), [tokenizer.decode(one.ids)], [one.decoded]);
    const bare = tokenizer.decode(one.ids, true);
    holdEqual(label('decoded', one.text), [bare], [one.decoded_skip_special]);
  }
});

it('shows ids that stop inside a character as the reference does', () => {
  for (const { ids, decoded } of reference.partial_decodes) {
    holdEqual(label('partial', decoded), [tokenizer.decode(ids)], [decoded]);
  }
});

it('knows the special tokens, and names one that it lacks', () => {
  for (const [token, id] of Object.entries(reference.special)) {
    holdEqual(label('special', token), [tokenizer.idOf(token)], [id]);
  }
  expect(() => tokenizer.idOf('<|absent|>')).toThrow(TokenizerError);
  expect(() => textTokenizer({}, {})).toThrow(TokenizerError);
});
