import type { Worker } from 'node:worker_threads';
import { preprocessImage } from '@armature/policy/data';
import { Ndarray } from '@armature/sdk/contract';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { countScans } from './count-scans.ts';
import { decodeJpeg } from './decode-jpeg.ts';
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

/** The picture with its last scan repeated until there are so many. */
function withScans(jpeg: Uint8Array, scans: number): Uint8Array {
  const bytes = Buffer.from(jpeg);
  const end = bytes.lastIndexOf(Buffer.of(0xff, 0xd9));
  const last = bytes.subarray(bytes.lastIndexOf(Buffer.of(0xff, 0xda)), end);
  const more = new Array<Buffer>(scans - countScans(bytes)).fill(last);
  return new Uint8Array(Buffer.concat([bytes.subarray(0, end), ...more, bytes.subarray(end)]));
}

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

  it('leaves a decoded picture as it is when others are decoded', async () => {
    const size = { width: 96, height: 64 };
    const [one, other] = await Promise.all([
      picture().jpeg().toBuffer(),
      picture().negate().jpeg().toBuffer(),
    ]);
    const decoded = decodeJpeg(one, size);
    const before = Buffer.from(decoded);
    expect(decodeJpeg(other, size)).not.toEqual(decoded);
    expect(before.equals(decoded)).toBe(true);
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

  it('refuses a picture of more scans than any camera makes, before it decodes one', async () => {
    const red = { width: 96, height: 64, channels: 3, background: 'red' } as const;
    const jpeg = await sharp({ create: red }).jpeg({ progressive: true }).toBuffer();
    expect(countScans(jpeg)).toBeLessThan(16);
    await expect(prepare({ jpeg: withScans(jpeg, 65) })).rejects.toMatchObject({
      code: 'invalid_observation',
      field: 'images.front',
      message: expect.stringContaining('65 scans') as string,
    });
  });

  it('does not take for a scan what lies in a segment, as thumbnails do', async () => {
    const jpeg = await picture().jpeg().toBuffer();
    const inside = Buffer.alloc(202, Buffer.of(0xff, 0xda));
    const segment = Buffer.concat([Buffer.of(0xff, 0xe1, 0, inside.length + 2), inside]);
    const tagged = Buffer.concat([jpeg.subarray(0, 2), segment, jpeg.subarray(2)]);
    expect(countScans(tagged)).toBe(1);
    await prepare({ jpeg: tagged });
  });

  it('gives up a thread whose picture takes too long, and does the others in another', async () => {
    const lost: Error[] = [];
    const own = await ImagePool.start(1, (error) => lost.push(error), 150);
    const large = { name: 'large', kind: 'external', width: 4096, height: 4096 } as const;
    const { width, height } = large;
    const slow = await sharp({ create: { width, height, channels: 3, background: 'red' } })
      .jpeg({ progressive: true })
      .toBuffer();
    const bomb = own.prepare({ large: { jpeg: withScans(slow, 64) } }, [large], target);
    const jpeg = new Uint8Array(await picture().jpeg().toBuffer());
    const other = own.prepare({ front: { jpeg } }, [camera], target);
    await expect(bomb).rejects.toMatchObject({
      code: 'invalid_observation',
      field: 'images.large',
      message: expect.stringContaining('longer than 150 ms') as string,
    });
    expect((await other)['front']).toHaveLength(32 * 32 * 3);
    expect(lost).toHaveLength(1);
    await own.close();
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

  it('has a thread without work take a picture that its thread has not begun', async () => {
    const lost: Error[] = [];
    const own = await ImagePool.start(2, (error) => lost.push(error), 20_000);
    const [late] = Reflect.get(own, 'threads') as { worker: Worker }[];
    if (late === undefined) throw new Error('there are threads');
    const { worker } = late;
    const patience = { timeout: 20_000 };
    const replies: unknown[] = [];
    worker.on('message', (reply) => replies.push(reply));
    // What is sent to it arrives late, as with a thread that the system does not let run.
    const post = worker.postMessage.bind(worker);
    const held: Parameters<typeof post>[] = [];
    worker.postMessage = (...message) => void held.push(message);
    const side = { ...camera, name: 'side' };
    const image = { pixels: Ndarray.uint8(pixels, [64, 96, 3]) };
    const both = () => own.prepare({ front: image, side: image }, [camera, side], target);
    const wanted = preprocessImage(pixels, 96, 64, target);
    expect(await both()).toEqual({ front: wanted, side: wanted });
    expect(held).toHaveLength(1);
    worker.postMessage = post;
    for (const message of held) post(...message);
    await vi.waitFor(() => expect(replies).toEqual([{ passed: true }]), patience);
    expect(await Promise.all([both(), both()])).toEqual([
      { front: wanted, side: wanted },
      { front: wanted, side: wanted },
    ]);
    // Others may have taken what it was given now as well, but it answers.
    await vi.waitFor(() => expect(replies.length).toBeGreaterThan(1), patience);
    await own.close();
    expect(lost).toEqual([]);
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
