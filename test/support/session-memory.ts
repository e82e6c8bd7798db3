/**
 * What a session of an engine takes of a process's memory, in a process of its own that prints it as JSON: bytes
 * held when the model is loaded and its resident inputs are there, and bytes beside at most over four runs.
 * `node --expose-gc session-memory.ts FILE`, FILE a MeasuredSession as JSON. Linux alone.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { Engine, type Value } from '@armature/policy/engine';
import type { DType } from '@armature/policy/tensor';
import { emptyData } from '../../policy/engine/value.ts';

export interface MeasuredSession {
  /** File of the model. */
  readonly model: string;
  readonly inputs: readonly {
    readonly name: string;
    readonly dtype: DType;
    readonly shape: readonly number[];
    /** The value of each element. */
    readonly fill: number;
    /** Whether it lies in the engine, as weights do, or comes with every run. */
    readonly resident: boolean;
  }[];
}

export interface SessionMemory {
  readonly held: number;
  readonly ran: number;
}

const RUNS = 4;

const [file = ''] = process.argv.slice(2);
const { model, inputs } = JSON.parse(readFileSync(file, 'utf8')) as MeasuredSession;
const engine = await Engine.start({ threads: 1, name: 'measured' });
const before = settled();
await engine.put('held', values(true), { move: true });
// Weights are read where they lie: a copy in another order is what processors have beside, not graphics cards.
await engine.load('session', model, { prepack: false });
const loaded = settled();
const names = inputs.filter(({ resident }) => resident).map(({ name }) => name);
const resident = Object.fromEntries(names.map((name) => [name, `held/${name}`]));
// The highest mark of the process's memory begins anew here.
writeFileSync('/proc/self/clear_refs', '5');
for (let i = 0; i < RUNS; i += 1)
  await engine.run('session', values(false), { resident, move: true });
const told: SessionMemory = { held: loaded - before, ran: status('VmHWM') - loaded };
process.stdout.write(JSON.stringify(told));
await engine.close();

function values(isResident: boolean): Record<string, Value> {
  const wanted = inputs.filter(({ resident: own }) => own === isResident);
  return Object.fromEntries(
    wanted.map(({ name, dtype, shape, fill }) => {
      const data = emptyData(dtype, shape);
      if (data instanceof BigInt64Array) data.fill(BigInt(fill));
      else data.fill(fill);
      return [name, { dtype, shape, data }];
    }),
  );
}

function settled(): number {
  globalThis.gc?.();
  return status('VmRSS');
}

function status(field: 'VmRSS' | 'VmHWM'): number {
  const kilobytes = new RegExp(`${field}:\\s+(\\d+) kB`).exec(
    readFileSync('/proc/self/status', 'utf8'),
  )?.[1];
  return Number(kilobytes) * 1024;
}
