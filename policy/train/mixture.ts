import type { Value, Values } from '../engine/index.ts';
import { elements } from '../nn/params.ts';
import type { ResolvedFinetuneOptions } from './options.ts';

/** Distance of the seeds of embodiments that train together, so that none draws what another does. */
const SEEDS_APART = 1_000_003;

/**
 * What one of several embodiments that train together has of a batch: equally many rows of every one, in
 * order of slots. The first draws as it would alone.
 */
export function shareOf(
  options: ResolvedFinetuneOptions,
  members: number,
  slot: number,
): ResolvedFinetuneOptions {
  const { batchSize, passes, spoken, seed } = options;
  const rows = batchSize / members;
  return {
    ...options,
    batchSize: rows,
    // As many of each pass, and of each embodiment.
    spoken: Math.min(Math.ceil(spoken / members / passes) * passes, rows),
    seed: seed + slot * SEEDS_APART,
  };
}

/** The batches of several embodiments as one: the first axis of every input counts rows, slot by slot. */
export function joined(batches: readonly Values[]): Values {
  const [first, ...others] = batches;
  if (first === undefined) throw new RangeError('there is no batch');
  if (others.length === 0) return first;
  return Object.fromEntries(
    Object.keys(first).map((name) => [
      name,
      stacked(
        name,
        batches.map((batch) => batch[name]),
      ),
    ]),
  );
}

function stacked(name: string, values: readonly (Value | undefined)[]): Value {
  const parts = values.map((value) => {
    if (value === undefined) throw new RangeError(`a batch has no ${name}`);
    return value;
  });
  const [first] = parts;
  if (first === undefined) throw new RangeError(`no batch has ${name}`);
  const rows = parts.reduce((sum, { shape }) => sum + (shape[0] ?? 0), 0);
  const shape = [rows, ...first.shape.slice(1)];
  const bytes = new Uint8Array(elements(shape) * first.data.BYTES_PER_ELEMENT);
  let at = 0;
  for (const { data } of parts) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return { dtype: first.dtype, shape, data: viewOf(first.data, bytes.buffer) };
}

/** The buffer as an array like `data`. */
function viewOf(data: Value['data'], buffer: ArrayBuffer): Value['data'] {
  const Kind = data.constructor as new (buffer: ArrayBuffer) => Value['data'];
  return new Kind(buffer);
}
