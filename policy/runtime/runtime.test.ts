import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  fromFloat32,
  manifestDigest,
  readSafetensors,
  readWeights,
  toFloat32,
  writeSafetensors,
  writeWeights,
} from '../checkpoint/index.ts';
import { Engine } from '../engine/index.ts';
import { TRUNK_LORA, mergePairs, trunkPairs } from '../lora/index.ts';
import { shippedBase } from '../../test/support/small-policy.ts';
import { elements } from '../nn/params.ts';
import { freshPolicy, rowOf, withPairs } from '../../test/support/fresh-policy.ts';
import { type FinishedPolicy } from '../train/index.ts';
import { PolicyError } from './errors.ts';
import type { ActRow, PolicyHandle } from './handle.ts';
import { emitGraph } from './graph.ts';
import { PolicyRuntime } from './runtime.ts';

const base = shippedBase();
let engine: Engine;
let runtime: PolicyRuntime;
let policies: FinishedPolicy[];
let handles: PolicyHandle[];

const difference = (a: Float32Array, b: Float32Array): number =>
  Math.max(...a.map((value, i) => Math.abs(value - (b[i] as number))));

beforeAll(async () => {
  engine = await Engine.start({ threads: 2 });
  policies = [
    await freshPolicy(engine, 2, 1),
    await freshPolicy(engine, 4, 2, { wrist: true }),
    await freshPolicy(engine, 3, 3),
  ];
  runtime = await PolicyRuntime.create({ engine, base, buckets: [1, 4], slots: 4 });
  handles = [];
  for (const policy of policies) handles.push(await runtime.load(policy));
});
afterAll(async () => {
  await engine.close();
});

describe('mixed batches', () => {
  it('reason as solo runs do, and the reasoning drives the actions that carry it', async () => {
    const rows = handles.slice(0, 2).map((handle, i) => rowOf(handle, i));
    const together = await runtime.reasonAndAct(rows);
    for (const [i, row] of rows.entries()) {
      const [reasoning] = await runtime.reason([row]);
      expect(together[i]?.reasoning?.text).toBe(reasoning?.text);
      if (reasoning === undefined) throw new RangeError('no reasoning');
      const [driven] = await runtime.act([{ ...row, reasoning }]);
      const joint = together[i]?.actions ?? new Float32Array();
      expect(difference(driven?.actions ?? new Float32Array(), joint)).toBeLessThan(1e-4);
    }
  });

  it('reason in an engine of their own as in the one that acts, whichever trunk they have', async () => {
    const reasonEngine = await Engine.start({ threads: 1, name: 'reason' });
    const buckets = [1, 8];
    const apart = await PolicyRuntime.create({
      engine,
      reasonEngine,
      base,
      buckets,
      name: 'apart',
    });
    const policy = await apart.load(policies[0] as FinishedPolicy);
    for (const count of [1, 5]) {
      const rows = Array.from({ length: count }, (_, t) => rowOf(policy, t));
      const said = await apart.reason(rows);
      const together = await apart.reasonAndAct(rows);
      expect(said.map(({ text }) => text)).toEqual(together.map((one) => one.reasoning?.text));
    }
    const ids = async (one: Engine) =>
      (await one.stats()).sessions.map(({ id }) => id.split('/')[1]);
    expect(await ids(reasonEngine)).toEqual(['reason', 'reason']);
    await apart.close();
    expect((await reasonEngine.stats()).residentBytes).toBe(0);
    await reasonEngine.close();
  });

  it('go on being answered while a graph for others is being made', async () => {
    let open = (): void => undefined;
    const held = new Promise<void>((resolve) => (open = resolve));
    const asked: number[] = [];
    const apart = await PolicyRuntime.create({
      engine,
      base,
      buckets: [1, 2],
      name: 'c',
      graphs: {
        build: async (wanted) => {
          asked.push(wanted.rows);
          if (wanted.rows > 1) await held;
          return { ...emitGraph(base, wanted), optimised: false };
        },
      },
    });
    const [policy] = policies;
    if (policy === undefined) throw new RangeError('no policy');
    const handle = await apart.load({ ...policy, digest: 'held' });
    const row = rowOf(handle, 0);
    const [alone] = await apart.act([row]);
    const both = apart.prepare('act', [row, row]);
    for (let i = 0; i < 5; i++) expect((await apart.act([row]))[0]).toEqual(alone);
    open();
    await both;
    expect(asked).toEqual([1, 2]);
    expect(await apart.act([row, row])).toHaveLength(2);
    expect(asked).toEqual([1, 2]);
    await apart.close();
  });

  it('a trunk of its own answers as the one that lies in the graphs, where both are the same', async () => {
    const last = handles.pop() as PolicyHandle;
    await runtime.unload(last);
    const { manifest, files } = policies[2] as FinishedPolicy;
    const { trunkSpecs, trunk: weights } = base;
    const weightOf = (name: string): Float32Array => weights.get(name) ?? new Float32Array();
    const trunk = writeWeights(trunkSpecs, weightOf, 'F32', {});
    const own = await runtime.load({
      digest: 'own trunk',
      manifest: { ...manifest, mode: 'policy' },
      files: { ...files, 'trunk.safetensors': trunk },
    });
    const rows = [0, 1, 2].map((t) => rowOf(own, t));
    const apart = await runtime.reasonAndAct(rows);
    await runtime.unload(own);
    const shared = await runtime.load(policies[2] as FinishedPolicy);
    handles.push(shared);
    const packed = await runtime.reasonAndAct(rows.map((row) => ({ ...row, policy: shared })));
    for (const [i, { actions, reasoning }] of apart.entries()) {
      expect(packed[i]?.reasoning?.text).toBe(reasoning?.text);
      expect(difference(actions, packed[i]?.actions ?? new Float32Array())).toBeLessThan(1e-5);
    }
  });

  it('a trunk of its own keeps a version out of the runs of those that have none', async () => {
    const first = policies[0] as FinishedPolicy;
    const { trunkSpecs, trunk: weights } = base;
    const weightOf = (name: string): Float32Array => weights.get(name) ?? new Float32Array();
    const own = await runtime.load({
      digest: 'apart',
      manifest: { ...first.manifest, mode: 'policy' },
      files: {
        ...first.files,
        'trunk.safetensors': writeWeights(trunkSpecs, weightOf, 'F32', {}),
      },
    });
    const [a, b] = handles as [PolicyHandle, PolicyHandle];
    expect(runtime.batchKey(a)).toBe(runtime.batchKey(b));
    expect(runtime.batchKey(own)).not.toBe(runtime.batchKey(a));
    await runtime.unload(own);
  });

  it('versions with one trunk share it and their runs, until the last of them leaves', async () => {
    const own = await PolicyRuntime.create({
      engine,
      base,
      buckets: [1, 4],
      slots: 4,
      name: 'shared',
    });
    const before = (await engine.stats()).residentBytes;
    const moved = new Map(
      [...base.trunk].map(([name, values]) => [name, values.map((value) => value * 1.01)]),
    );
    const weightOf = (name: string): Float32Array => moved.get(name) ?? new Float32Array();
    const trunk = writeWeights(base.trunkSpecs, weightOf, 'F32', {});
    const together = await Promise.all(
      policies.slice(0, 2).map(({ digest, manifest, files }) =>
        own.load({
          digest: `${digest} together`,
          manifest: { ...manifest, mode: 'policy' },
          files: { ...files, 'trunk.safetensors': trunk },
        }),
      ),
    );
    const [first, second] = together as [PolicyHandle, PolicyHandle];
    const once = base.trunkSpecs.reduce((sum, { shape }) => sum + 4 * elements(shape), 0);
    expect((await engine.stats()).residentBytes - before).toBe(once);
    expect(own.batchKey(first)).toBe(own.batchKey(second));
    const rows = together.map((handle, i) => rowOf(handle, i));
    const solo = await Promise.all(rows.map((row) => own.act([row])));
    const mixed = await own.act([...rows].reverse());
    const none = new Float32Array();
    for (const i of [0, 1]) {
      const [alone, joint] = [solo[i]?.[0]?.actions ?? none, mixed[1 - i]?.actions ?? none];
      expect(difference(alone, joint)).toBeLessThan(1e-4);
    }
    await own.unload(first);
    const [still] = await own.act([rows[1] as ActRow]);
    expect(still?.actions).toEqual(solo[1]?.[0]?.actions);
    await own.unload(second);
    expect((await engine.stats()).residentBytes).toBe(before);
    await own.close();
  });

  it('a slot freed and filled again leaves the others as they were', async () => {
    const row = rowOf(handles[0] as PolicyHandle, 0);
    const [before] = await runtime.act([row]);
    const last = handles.pop() as PolicyHandle;
    await runtime.unload(last);
    const again = await runtime.load(policies[2] as FinishedPolicy);
    handles.push(again);
    expect(again.slot).toBe(last.slot);
    const [after] = await runtime.act([row]);
    expect(after?.actions).toEqual(before?.actions);
  });
});

describe('low-rank pairs', () => {
  /** The same as a trunk of its own. */
  function merged(policy: FinishedPolicy): FinishedPolicy {
    const specs = trunkPairs(TRUNK_LORA, base.trunkSpecs);
    const pairs = readWeights(specs, policy.files['lora.safetensors'] as Uint8Array).weights;
    const weights = mergePairs(TRUNK_LORA, base.trunk, pairs);
    const weightOf = (name: string): Float32Array => weights.get(name) ?? new Float32Array();
    const trunk = writeWeights(base.trunkSpecs, weightOf, 'F32', {});
    const manifest = { ...policy.manifest, mode: 'full' } as const;
    const files = { ...policy.files, 'trunk.safetensors': trunk };
    return { digest: `${policy.digest}, merged`, manifest, files };
  }

  it('answer as merged, reason alike in every graph, and leave nothing behind in a slot', async () => {
    const name = 'pairs';
    const own = await PolicyRuntime.create({ engine, base, buckets: [1, 4], slots: 5, name });
    const [first, second, third] = policies as [FinishedPolicy, FinishedPolicy, FinishedPolicy];
    const lora = [withPairs(base, first, 1), withPairs(base, second, 2)] as const;
    const there: PolicyHandle[] = [];
    for (const policy of [lora[0], third, lora[1]]) there.push(await own.load(policy));
    const leaving = await own.load(withPairs(base, first, 3));
    expect(new Set(there.map((handle) => own.batchKey(handle))).size).toBe(1);
    const rows = there.map((handle, i) => rowOf(handle, i));
    const solo = await Promise.all(rows.map((row) => own.reasonAndAct([row])));
    const plain = await runtime.act([rowOf(handles[0] as PolicyHandle, 0)]);
    expect(
      difference(
        plain[0]?.actions ?? new Float32Array(),
        solo[0]?.[0]?.actions ?? new Float32Array(),
      ),
    ).toBeGreaterThan(1e-3);
    const [said] = await own.reason([rows[2] as ActRow]);
    expect(said?.text).toBe(solo[2]?.[0]?.reasoning?.text);

    const handle = await own.load(merged(lora[0]));
    const [once] = await own.reasonAndAct([{ ...(rows[0] as ActRow), policy: handle }]);
    const applied = solo[0]?.[0];
    expect(once?.reasoning?.text).toBe(applied?.reasoning?.text);
    const actions = once?.actions ?? new Float32Array();
    expect(difference(applied?.actions ?? new Float32Array(), actions)).toBeLessThan(1e-4);

    // A head that gets a slot after pairs acts as if they had never been there.
    await own.unload(leaving);
    const after = await own.load(first);
    expect(after.slot).toBe(leaving.slot);
    const [again] = await own.act([rowOf(after, 0), rows[2] as ActRow]);
    const unpaired = plain[0]?.actions ?? new Float32Array();
    expect(difference(again?.actions ?? new Float32Array(), unpaired)).toBeLessThan(1e-4);
    await own.close();
  });

  it('of another rank or another base are refused, by field', async () => {
    const { digest, manifest, files } = withPairs(base, policies[0] as FinishedPolicy, 4);
    const other = { ...manifest, lora: { ...TRUNK_LORA, rank: 4 } };
    const refused = { code: 'incompatible', field: 'lora' };
    await expect(runtime.load({ digest, manifest: other, files })).rejects.toMatchObject(refused);
    const foreign = { ...manifest, base_digest: '0'.repeat(64) };
    await expect(runtime.load({ digest, manifest: foreign, files })).rejects.toMatchObject({
      field: 'base_digest',
    });
  });
});

describe('a chunk that goes on from the one before it', () => {
  const [executed, delay] = [4, 3];

  it('keeps the actions that the delay takes, and bends less where it takes over', async () => {
    const row = rowOf(handles[1] as PolicyHandle, 1);
    const width = row.state.length;
    const [before] = await runtime.act([row]);
    const actions = (before?.actions ?? new Float32Array()).slice(executed * width);
    const next = { ...row, seed: 99 };
    const [free] = await runtime.act([next]);
    const previous = { actions, delay, schedule: 'exp' } as const;
    const [guided] = await runtime.act([{ ...next, previous }]);
    /** Mean bend of the executed path at the two steps around the hand-over. */
    const bend = (chunk: Float32Array): number => {
      let sum = 0;
      for (let a = 0; a < width; a++) {
        const at = (k: number): number =>
          ((k < delay ? actions : chunk)[k * width + a] as number) / (2 * width);
        for (const k of [delay - 1, delay]) sum += Math.abs(at(k + 1) - 2 * at(k) + at(k - 1));
      }
      return sum;
    };
    const [plain, turned] = [free, guided].map((one) => one?.actions ?? new Float32Array());
    if (plain === undefined || turned === undefined) throw new RangeError('no chunks');
    const kept = turned.slice(0, delay * width);
    expect(difference(kept, actions.slice(0, delay * width))).toBeLessThan(1e-5);
    expect(bend(turned)).toBeLessThan(bend(plain) / 2);
    // Behind what is left of the chunk before, nothing pulls at the new one itself.
    expect(difference(turned, plain)).toBeGreaterThan(1e-3);
  });

  it('leaves rows beside it, and rows that nothing is left for, as they are', async () => {
    const rows = handles.map((handle, i) => rowOf(handle, i));
    const [first, second] = rows as [ActRow, ActRow];
    const free = await runtime.act(rows);
    const actions = (free[1]?.actions ?? new Float32Array()).slice(8);
    const previous = { actions, delay: 2, schedule: 'linear' } as const;
    const mixed = await runtime.act([first, { ...second, previous }, ...rows.slice(2)]);
    for (const i of [0, 2]) expect(mixed[i]?.actions).toEqual(free[i]?.actions);
    expect(mixed[1]?.actions).not.toEqual(free[1]?.actions);
    const none = { actions: new Float32Array(), delay: 2, schedule: 'exp' } as const;
    const [nothing] = await runtime.act([{ ...second, previous: none }]);
    const [alone] = await runtime.act([second]);
    expect(nothing?.actions).toEqual(alone?.actions);
    await expect(
      runtime.act([{ ...second, previous: { ...none, actions: new Float32Array(3) } }]),
    ).rejects.toMatchObject({ code: 'invalid_row', field: 'previous' });
  });
});

describe('guidance through the network', () => {
  const turned = (row: ActRow, correction?: 'direct' | 'pulled-back'): ActRow => {
    const actions = new Float32Array(8 * row.state.length).fill(0.3);
    const previous = { actions, delay: 3, schedule: 'exp' } as const;
    return { ...row, previous: correction === undefined ? previous : { ...previous, correction } };
  };

  it('is refused where there are no graphs for it, by field', async () => {
    const row = rowOf(handles[0] as PolicyHandle, 0);
    await expect(runtime.act([turned(row, 'pulled-back')])).rejects.toMatchObject({
      code: 'invalid_row',
      field: 'previous.correction',
    });
  });

  it('shares a batch with free and guided rows and those of other tenants, each as alone', async () => {
    const options = { engine, base, buckets: [1, 4], slots: 4, name: 'pulled', pulledBack: true };
    const own = await PolicyRuntime.create(options);
    const [first, second] = [
      await own.load(policies[0] as FinishedPolicy),
      await own.load(policies[1] as FinishedPolicy),
    ];
    const row = rowOf(first, 1);
    const rows = [
      row,
      turned(row, 'direct'),
      turned(row, 'pulled-back'),
      turned(rowOf(second, 2), 'pulled-back'),
    ];
    const solo = await Promise.all(rows.map(async (one) => (await own.act([one]))[0]));
    const none = new Float32Array();
    for (const order of [
      [0, 1, 2, 3],
      [3, 1, 0, 2],
    ]) {
      const together = await own.act(order.map((i) => rows[i] as ActRow));
      order.forEach((i, place) => {
        const [alone, joint] = [solo[i]?.actions ?? none, together[place]?.actions ?? none];
        expect(difference(alone, joint)).toBeLessThan(1e-4);
      });
    }
    const [free, direct, pulled] = solo.map((one) => one?.actions ?? none);
    if (free === undefined || direct === undefined || pulled === undefined) throw new RangeError();
    // The last step is all but clean, so there both keep what has been executed.
    const previous = rows[1]?.previous?.actions ?? none;
    const kept = previous.slice(0, 3 * row.state.length);
    expect(difference(kept, direct.slice(0, kept.length))).toBeLessThan(1e-5);
    expect(difference(kept, pulled.slice(0, kept.length))).toBeLessThan(0.05);
    expect(difference(direct, pulled)).toBeGreaterThan(1e-4);
    expect(difference(free, pulled)).toBeGreaterThan(1e-2);
    // Where nothing is held, the graph with the backward pass gives the free chunk.
    const nothing = {
      actions: none,
      delay: 0,
      schedule: 'exp',
      correction: 'pulled-back',
    } as const;
    const [loose] = await own.act([{ ...row, previous: nothing }]);
    expect(difference(free, loose?.actions ?? none)).toBeLessThan(1e-5);
    await own.close();
  });
});

describe('a policy that reads velocities', () => {
  it('acts by how fast the robot moves, and as without where that is not known', async () => {
    const reads = await runtime.load(await freshPolicy(engine, 3, 6, { velocity: 'use' }));
    const row = rowOf(reads, 9);
    const earlier = { state: rowOf(reads, 5).state, periods: 4 };
    const [unknown] = await runtime.act([row]);
    const [moving] = await runtime.act([{ ...row, earlier }]);
    const [faster] = await runtime.act([{ ...row, earlier: { ...earlier, periods: 2 } }]);
    const [stale] = await runtime.act([{ ...row, earlier: { ...earlier, periods: 1000 } }]);
    const none = new Float32Array();
    expect(difference(unknown?.actions ?? none, moving?.actions ?? none)).toBeGreaterThan(1e-5);
    expect(difference(moving?.actions ?? none, faster?.actions ?? none)).toBeGreaterThan(1e-5);
    expect(stale?.actions).toEqual(unknown?.actions);
    await runtime.unload(reads);
  });

  it('is one whose normalisation has them; others give the same bits with an earlier state', async () => {
    const [, , other] = handles as [PolicyHandle, PolicyHandle, PolicyHandle];
    expect(other.manifest.normalisation.velocity).toBeUndefined();
    const row = rowOf(other, 9);
    const earlier = { state: rowOf(other, 5).state, periods: 4 };
    const [without] = await runtime.act([row]);
    const [beside] = await runtime.act([{ ...row, earlier }]);
    expect(beside?.actions).toEqual(without?.actions);
  });
});

describe('a chunk behind actions that are given', () => {
  const most = 4;
  let policy: PolicyHandle;
  beforeAll(async () => {
    policy = await runtime.load(await freshPolicy(engine, 3, 5, { prefix: most }));
  });
  afterAll(() => runtime.unload(policy));

  it('is for versions that were trained for it', async () => {
    expect(policy.manifest.prefix_delay_max).toBe(most);
    const [, other] = handles as [PolicyHandle, PolicyHandle];
    expect(other.manifest).not.toHaveProperty('prefix_delay_max');
    const previous = { actions: new Float32Array(16), delay: 1, schedule: 'trained' } as const;
    await expect(runtime.act([{ ...rowOf(other, 1), previous }])).rejects.toMatchObject({
      code: 'invalid_row',
      field: 'previous.schedule',
    });
  });

  it('keeps them, and is the free chunk where there are none, bit for bit', async () => {
    const row = rowOf(policy, 1);
    const width = row.state.length;
    const [before] = await runtime.act([row]);
    const actions = (before?.actions ?? new Float32Array()).slice(4 * width);
    const next = { ...row, seed: 99 };
    const after = async (delay: number, schedule: 'trained' | 'exp', left = actions) => {
      const [one] = await runtime.act([{ ...next, previous: { actions: left, delay, schedule } }]);
      return one?.actions ?? new Float32Array();
    };
    const [free] = await runtime.act([next]);
    expect(await after(0, 'trained')).toEqual(free?.actions);
    for (let delay = 1; delay <= most; delay++) {
      const chunk = await after(delay, 'trained');
      const [kept, rest] = [chunk.slice(0, delay * width), chunk.slice(delay * width)];
      // In raw units there and back: float32's rounding.
      expect(difference(kept, actions.slice(0, delay * width))).toBeLessThan(1e-6);
      expect(difference(actions.slice(delay * width), rest)).toBeGreaterThan(1e-3);
      // What lies behind the prefix is not looked at.
      const other = actions.map((value, i) => (i < delay * width ? value : 1 - value));
      expect(await after(delay, 'trained', other)).toEqual(chunk);
    }
    // Longer than it was trained for: guided.
    expect(await after(most + 1, 'trained')).toEqual(await after(most + 1, 'exp'));
    // No more than there is of the chunk before.
    const one = actions.slice(0, width);
    expect(await after(most, 'trained', one)).toEqual(await after(1, 'trained', one));
  });

  it('shares a run with free and guided rows, each as alone', async () => {
    const row = rowOf(policy, 1);
    const actions = new Float32Array(8 * row.state.length).fill(0.2);
    const rows: ActRow[] = [
      row,
      { ...row, previous: { actions, delay: 3, schedule: 'trained' } },
      { ...row, previous: { actions, delay: 3, schedule: 'exp' } },
    ];
    const together = await runtime.act(rows);
    for (const [i, one] of rows.entries()) {
      const [alone] = await runtime.act([one]);
      const chunk = together[i]?.actions ?? new Float32Array();
      expect(difference(alone?.actions ?? new Float32Array(), chunk)).toBeLessThan(1e-4);
    }
  });
});

describe('what is refused', () => {
  it.each([NaN, Infinity, -Infinity, 10_001, -10_001])(
    'weights of %d, in a head or in pairs, by name; the largest that is allowed is not',
    async (value) => {
      const good = policies[0] as FinishedPolicy;
      const pairs = trunkPairs(TRUNK_LORA, base.trunkSpecs);
      const files: Record<string, Uint8Array> = {
        ...good.files,
        'lora.safetensors': writeWeights(
          pairs,
          (name) => {
            const spec = pairs.find((pair) => pair.name === name);
            return new Float32Array(spec === undefined ? 0 : elements(spec.shape));
          },
          'F32',
          {},
        ),
      };
      const lora = { ...good.manifest, mode: 'lora', lora: TRUNK_LORA } as const;
      for (const [name, manifest] of [
        ['head.safetensors', good.manifest],
        ['lora.safetensors', lora],
      ] as const) {
        const [digest, largest] = [`${name} of ${value}`, `${name} of the largest`];
        const bad = { ...files, [name]: withFirst(files[name], value) };
        await expect(runtime.load({ digest, manifest, files: bad })).rejects.toMatchObject({
          code: 'invalid_weights',
          field: name,
        });
        const fine = { ...files, [name]: withFirst(files[name], 10_000) };
        await runtime.unload(await runtime.load({ digest: largest, manifest, files: fine }));
      }
    },
  );

  /** The file with another first value in its first tensor. */
  function withFirst(bytes: Uint8Array | undefined, value: number): Uint8Array {
    if (bytes === undefined) throw new RangeError('no file');
    const tensors = [...readSafetensors(bytes).tensors].map(([name, tensor], i) => {
      const data = toFloat32(tensor).slice();
      if (i === 0) data[0] = value;
      return [name, fromFloat32(data, tensor.shape, 'F32')] as const;
    });
    return writeSafetensors(new Map(tensors));
  }

  it('a policy of another pre-processing', async () => {
    const good = policies[0] as FinishedPolicy;
    const manifest = { ...good.manifest, preprocess_hash: 'other' };
    await expect(
      runtime.load({ digest: manifestDigest(manifest), manifest, files: good.files }),
    ).rejects.toMatchObject({ code: 'incompatible', field: 'preprocess_hash' });
  });

  it('an instruction that is longer than the model reads, or blank, is told beforehand', async () => {
    const long = 'reach the disc '.repeat(40);
    expect(runtime.refusalOf('reach the red disc')).toBeUndefined();
    expect(runtime.refusalOf(long)).toContain('at most');
    expect(runtime.refusalOf('  ')).toContain('empty');
    const row = rowOf(handles[1] as PolicyHandle, 1);
    await expect(runtime.act([{ ...row, instruction: long }])).rejects.toThrow(
      runtime.refusalOf(long),
    );
  });

  it('a row without a camera that its embodiment has', async () => {
    const row = rowOf(handles[1] as PolicyHandle, 1);
    const { top } = row.images;
    if (top === undefined) throw new RangeError('no picture');
    await expect(runtime.act([{ ...row, images: { top } }])).rejects.toMatchObject({
      code: 'invalid_row',
      field: 'images.wrist',
    });
    await expect(runtime.act([])).rejects.toBeInstanceOf(PolicyError);
  });
});
