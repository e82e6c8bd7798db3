import type { Worker } from 'node:worker_threads';
import { preprocessImage } from '@armature/policy/data';
import { Ndarray } from '@armature/sdk/contract';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ImagePool } from './image-pool.ts';

const camera = { name: 'front', kind: 'external', width: 96, height: 64 } as const;
const target = { width: 32, height: 32 };
const pixels = Uint8Array.from({ length: 96 * 64 * 3 }, (_, i) => (i * 7 + (i >> 5) * 11) % 256);
const picture = () => sharp(pixels, { raw: { width: 96, height: 64, channels: 3 } });

let pool: ImagePool;
beforeAll(async () => {
  pool = await ImagePool.start(2, () => {});
});
afterAll(() => pool.close());

const prepare = async (image: Parameters<ImagePool['prepare']>[0][string]) =>
  (await pool.prepare({ front: image }, [camera], target))['front'];

describe('ImagePool', () => {
  it('pre-processes raw pixels as training does', async () => {
    const made = await prepare({ pixels: Ndarray.uint8(pixels, [64, 96, 3]) });
    expect(made).toEqual(preprocessImage(pixels, 96, 64, target));
  });

  it('decodes JPEG, progressive and grey too, and leaves the frame it came in alone', async () => {
    for (const jpeg of [
      await picture().jpeg().toBuffer(),
      await picture().jpeg({ progressive: true }).toBuffer(),
      await picture().greyscale().toColourspace('b-w').jpeg().toBuffer(),
    ]) {
      const frame = Buffer.concat([Buffer.from('before'), jpeg, Buffer.from('after')]);
      const before = Buffer.from(frame);
      const made = await prepare({ jpeg: frame.subarray(6, 6 + jpeg.length) });
      const decoded = await sharp(jpeg).toColourspace('srgb').raw().toBuffer();
      expect(made).toEqual(preprocessImage(decoded, 96, 64, target));
      expect(frame.equals(before)).toBe(true);
    }
  });

  it('refuses other sizes, damage, and every other format', async () => {
    const jpeg = await picture().jpeg().toBuffer();
    const huge = await sharp({
      create: { width: 3000, height: 3000, channels: 3, background: 'red' },
    })
      .jpeg()
      .toBuffer();
    const bad: [Uint8Array, string][] = [
      [await picture().resize(48, 64).jpeg().toBuffer(), '48×64'],
      [huge, '3000×3000'],
      [jpeg.subarray(0, jpeg.length >> 1), 'cannot be decoded'],
      [await picture().png().toBuffer(), 'cannot be decoded'],
      [await picture().webp().toBuffer(), 'cannot be decoded'],
      [
        Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="96" height="64"/>'),
        'cannot be',
      ],
      [new Uint8Array(), 'cannot be'],
    ];
    for (const [bytes, message] of bad) {
      await expect(prepare({ jpeg: new Uint8Array(bytes) })).rejects.toMatchObject({
        code: 'invalid_observation',
        field: 'images.front',
        message: expect.stringContaining(message) as string,
      });
    }
    await prepare({ jpeg });
  });

  it('asks for a picture of every camera', async () => {
    await expect(pool.prepare({}, [camera], target)).rejects.toMatchObject({
      code: 'missing_camera',
    });
  });

  it('puts another thread in place of one that ends', async () => {
    const lost: Error[] = [];
    const own = await ImagePool.start(1, (error) => lost.push(error));
    const [thread] = Reflect.get(own, 'threads') as { worker: Worker }[];
    await thread?.worker.terminate();
    expect(lost).toHaveLength(1);
    const jpeg = await picture().jpeg().toBuffer();
    await own.prepare({ front: { jpeg: new Uint8Array(jpeg) } }, [camera], target);
    await own.close();
    expect(lost).toHaveLength(1);
  });

  it('rejects what is under way when it closes', async () => {
    const own = await ImagePool.start(1, () => {});
    const asked = own.prepare(
      { front: { jpeg: await picture().jpeg().toBuffer() } },
      [camera],
      target,
    );
    const refused = expect(asked).rejects.toThrow('closed');
    await own.close();
    await refused;
  });
});
