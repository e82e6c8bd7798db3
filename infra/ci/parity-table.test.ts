import { expect, it } from 'vitest';
import { parityTable } from './parity-table.ts';

const row = (quantity: string, detail: string, error: number, tolerance: number) => ({
  fixture: 'ops/add',
  quantity,
  detail,
  error,
  tolerance,
});

it('has one line a quantity, with its largest error and the tensor nearest its tolerance', () => {
  const table = parityTable([
    row('outputs', 'far', 1e-7, 1e-3),
    row('outputs', 'near', 1e-8, 2e-8),
    row('exact', 'ids', 0, 0),
  ]);
  expect(table.split('\n')).toEqual([
    'fixture  quantity  tensors  max error  nearest its tolerance  its error  tolerance',
    'ops/add  exact           1          0  ids                            0          0',
    'ops/add  outputs         2     1.0e-7  near                      1.0e-8     2.0e-8',
  ]);
});

it('puts an error where none is allowed before all others', () => {
  const table = parityTable([row('ids', 'a', 9e-1, 1), row('ids', 'b', 1, 0)]);
  expect(table).toMatch(/ {2}1\.0e\+0 {2}b /);
  expect(table).not.toContain('9.0e-1');
});
