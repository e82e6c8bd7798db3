import os from 'node:os';
import path from 'node:path';
import { Engine } from '@armature/policy/engine';
import { readingIds } from '@armature/policy/export';
import { ArmatureError } from '@armature/sdk/contract';

/** How far two readings of one text are apart. */
export interface LogitsError {
  readonly cosine: number;
  readonly max_difference: number;
}

/** Runs `work` with an engine whose sessions map weights instead of copying them. */
export async function withEngine<T>(work: (engine: Engine) => Promise<T>): Promise<T> {
  const engine = await Engine.start({ threads: os.availableParallelism(), name: 'models' });
  try {
    return await work(engine);
  } finally {
    await engine.close();
  }
}

/** Loads each graph by its path, so that what is handed over is known to load. The signal stops it between two. */
export async function loadEach(
  engine: Engine,
  files: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  for (const file of files) {
    signal.throwIfAborted();
    await engine.load(file, file, { prepack: false });
    await engine.unload(file);
  }
}

/** Logits of the fixed text, every token's after the other. */
export async function read(
  engine: Engine,
  file: string,
  vocabulary: number,
): Promise<Float32Array> {
  const ids = readingIds(vocabulary);
  await engine.load(file, file, { prepack: false });
  const { logits } = await engine.run(file, {
    ids: { dtype: 'int64', shape: [1, ids.length], data: ids },
  });
  await engine.unload(file);
  const data = logits?.data;
  if (!(data instanceof Float32Array) || !data.every(Number.isFinite)) {
    throw new ArmatureError('internal', `${path.basename(file)} gives logits that are no numbers`, {
      fix: 'Import with --rest float32, or report this with the model’s name.',
    });
  }
  return data;
}

export function logitsError(exact: Float32Array, got: Float32Array): LogitsError {
  let [product, ofExact, ofGot, difference] = [0, 0, 0, 0];
  exact.forEach((value, i) => {
    const other = got[i] ?? NaN;
    product += value * other;
    ofExact += value * value;
    ofGot += other * other;
    difference = Math.max(difference, Math.abs(value - other));
  });
  // Nothing but zeros points nowhere: it is like itself and like nothing else.
  const sizes = Math.sqrt(ofExact * ofGot);
  const cosine = sizes > 0 ? product / sizes : Number(ofExact === ofGot);
  return { cosine, max_difference: difference };
}
