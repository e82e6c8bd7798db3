import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { copyFile, mkdir, open, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Armature } from '@armature/sdk';
import type { Figure } from '../../result.ts';
import { quantile } from '../../timing.ts';
import { spec } from '../serve/fleet.ts';

const RUNS = 3;

/**
 * One file of `megabytes` (10^6 bytes) by its presigned URL into the object store, which hashes it and has
 * it on the disk when it answers, against a plain copy of the file with fsync. Medians, by turns.
 */
export async function uploadRate(
  client: Armature,
  dir: string,
  megabytes: number,
): Promise<{ figures: Figure[]; ratio: number }> {
  await mkdir(dir, { recursive: true });
  const source = path.join(dir, 'source');
  const bytes = randomBytes(megabytes * 1_000_000);
  await writeFile(source, bytes);
  const file = {
    path: 'data',
    size: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
  };
  const { id } = await client.embodiments.create({ spec });
  const uploads: number[] = [];
  const copies: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    const { parts } = await client.datasets.create({
      name: 'bench',
      embodiment_id: id,
      files: [file],
    });
    const [part] = parts;
    if (part === undefined) throw new Error('the upload plan has no part');
    const body = createReadStream(source, { highWaterMark: 1 << 16 });
    uploads.push(
      await seconds(async () => {
        const headers = { ...part.headers, 'content-length': String(part.size) };
        const init = { method: part.method, headers, body, duplex: 'half' };
        const answer = await fetch(part.url, init as unknown as RequestInit);
        const text = await answer.text();
        if (!answer.ok) throw new Error(`the upload answered ${answer.status}: ${text}`);
      }),
    );
    copies.push(
      await seconds(async () => {
        const target = path.join(dir, `copy-${run}`);
        await copyFile(source, target);
        const copied = await open(target, 'r+');
        await copied.sync();
        await copied.close();
      }),
    );
  }
  const [upload, copy] = [uploads, copies].map((times) => megabytes / quantile(times, 0.5));
  if (upload === undefined || copy === undefined) throw new Error('nothing was measured');
  return {
    ratio: upload / copy,
    figures: [
      { name: 'upload by a presigned URL', value: upload, unit: 'MB/s' },
      { name: 'plain copy with fsync', value: copy, unit: 'MB/s' },
      { name: 'upload ratio', value: upload / copy, unit: '' },
    ],
  };
}

async function seconds(work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}
