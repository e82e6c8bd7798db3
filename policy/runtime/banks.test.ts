import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshPolicy, rowOf, withPairs } from '../../test/support/fresh-policy.ts';
import { shippedBase } from '../../test/support/small-policy.ts';
import { Engine } from '../engine/index.ts';
import { TRUNK_LORA, trunkPairs } from '../lora/index.ts';
import { elements, type ParamSpec } from '../nn/params.ts';
import type { FinishedPolicy } from '../train/index.ts';
import type { ActResult, ActRow, PolicyHandle } from './handle.ts';
import { PolicyRuntime } from './runtime.ts';

const base = shippedBase();
const SLOTS = 4;
const TOLERANCE = 1e-4;
/** Every order of the three tenants whose weights are sound. */
const ORDERS = [
  [0, 1, 2],
  [0, 2, 1],
  [1, 0, 2],
  [1, 2, 0],
  [2, 0, 1],
  [2, 1, 0],
] as const;

let engine: Engine;
let heads: FinishedPolicy[];
beforeAll(async () => {
  engine = await Engine.start({ threads: 2, name: 'banks' });
  heads = [
    await freshPolicy(engine, 2, 1),
    await freshPolicy(engine, 4, 2, { wrist: true }),
    await freshPolicy(engine, 3, 3),
    await freshPolicy(engine, 2, 4),
  ];
});
afterAll(() => engine.close());

interface Tenants {
  readonly own: PolicyRuntime;
  /** Three sound versions, then the one whose weights become NaN. */
  readonly policies: readonly FinishedPolicy[];
  readonly poison: (slot: number) => Promise<void>;
}

/** Loads in an order, which decides who gets which slot. @returns handles by place in `policies` */
async function assign({ own, policies }: Tenants, order: readonly number[]) {
  const handles: PolicyHandle[] = [];
  for (const i of order) handles[i] = await own.load(policies[i] as FinishedPolicy);
  return handles;
}

function expectAlike(got: ActResult | undefined, want: ActResult | undefined): void {
  const [actions, expected] = [got?.actions ?? [], want?.actions ?? []];
  expect(actions.length).toBe(expected.length);
  expect(got?.reasoning?.text).toBe(want?.reasoning?.text);
  const off = Array.from(expected, (value, i) => Math.abs(value - (actions[i] ?? NaN)));
  expect(Math.max(...off)).toBeLessThan(TOLERANCE);
}

/** Every assignment of slots, and in each every order of rows with the poisoned one among them. */
async function holdBatches(
  tenants: Tenants,
  ask: (rows: readonly ActRow[]) => Promise<ActResult[]>,
): Promise<void> {
  const { own } = tenants;
  const before = await assign(tenants, [0, 1, 2]);
  const solo: (ActResult | undefined)[] = [];
  for (const [i, handle] of before.entries()) solo.push((await ask([rowOf(handle, i)]))[0]);
  for (const handle of before) await own.unload(handle);
  const seen = new Set<string>();
  for (const [k, loaded] of ORDERS.entries()) {
    // The poisoned version loads at another place each time, so that its slot moves too.
    const order: number[] = [...loaded];
    order.splice(k % SLOTS, 0, SLOTS - 1);
    const handles = await assign(tenants, order);
    seen.add(handles.map(({ slot }) => slot).join());
    const rows = handles.map((handle, i) => rowOf(handle, i));
    const [sick, healthy] = [rows[SLOTS - 1] as ActRow, rows.slice(0, SLOTS - 1)];
    await tenants.poison(sick.policy.slot);
    for (const [j, asked] of ORDERS.entries()) {
      const batch = asked.map((i) => healthy[i] as ActRow);
      const place = (j + k) % SLOTS;
      batch.splice(place, 0, sick);
      const answers = await ask(batch);
      expect(answers[place]?.actions.every(Number.isNaN)).toBe(true);
      answers.splice(place, 1);
      asked.forEach((i, at) => {
        expectAlike(answers[at], solo[i]);
      });
    }
    // A slot of NaN that no row asks for does no harm either.
    (await ask(healthy)).forEach((answer, i) => {
      expectAlike(answer, solo[i]);
    });
    for (const handle of handles) await own.unload(handle);
  }
  expect(seen.size).toBe(ORDERS.length);
}

/** Fills a slot of a bank with NaN, which no version that loads may hold. */
function poisonOf(bank: string, specs: readonly ParamSpec[]) {
  return async (slot: number): Promise<void> => {
    for (const { name, shape } of specs) {
      const size = elements(shape);
      await engine.patch(bank, name, slot * size, new Float32Array(size).fill(NaN));
    }
  };
}

const runtimeOf = (name: string): Promise<PolicyRuntime> =>
  PolicyRuntime.create({ engine, base, buckets: [1, SLOTS], slots: SLOTS, name });

describe('a batch of several tenants, one of them NaN, answers as each alone', () => {
  it('with heads, whatever the slots and the order of rows', async () => {
    const own = await runtimeOf('heads');
    const poison = poisonOf('heads.bank', base.headSpecs);
    await holdBatches({ own, policies: heads, poison }, (rows) => own.act(rows));
    await own.close();
  });

  it('with low-rank pairs beside a head without, whatever the slots and the order of rows', async () => {
    const own = await runtimeOf('pairs');
    const [first, second, third, fourth] = heads as [
      FinishedPolicy,
      FinishedPolicy,
      FinishedPolicy,
      FinishedPolicy,
    ];
    const paired = (policy: FinishedPolicy, seed: number) => withPairs(base, policy, seed);
    const policies = [paired(first, 1), paired(second, 2), third, paired(fourth, 3)];
    const poison = poisonOf('pairs.pairs', trunkPairs(TRUNK_LORA, base.trunkSpecs));
    await holdBatches({ own, policies, poison }, (rows) => own.reasonAndAct(rows));
    await own.close();
  });
});
