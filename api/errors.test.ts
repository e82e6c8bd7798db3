import { DatabaseError } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import { expect, it } from 'vitest';
import { classifyError } from './errors.ts';

it.each([
  ['40P01', 'unavailable'],
  ['40001', 'unavailable'],
  ['57014', 'timeout'],
  ['57P01', 'unavailable'],
  ['53300', 'unavailable'],
  ['CONNECTION_CLOSED', 'unavailable'],
  ['22021', 'internal'],
  ['23505', 'internal'],
])('a failure %s of the database is told as %s, without its words', (code, told) => {
  const error = classifyError(new DatabaseError(code, { table: 'secrets', statement: 'select' }));
  expect(error.code).toBe(told);
  expect(JSON.stringify(error.toProblem('req_1'))).not.toMatch(/secrets|select/);
});

it('an error of ours is told as it is', () => {
  const error = new ArmatureError('conflict', 'there already');
  expect(classifyError(error)).toBe(error);
});
