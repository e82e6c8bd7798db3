import sharp from 'sharp';
import { it } from 'vitest';
import { decodeJpeg } from '../../workers/serve/images/decode-jpeg.ts';
import { fixturePath, readFixture, readFixtureJson } from '../../test/support/fixtures.ts';
import { hold, largestDifference } from '../../test/support/parity.ts';

/** The pictures that serving decodes are those that other decoders of JPEG give. */

interface Meta {
  jpeg: Record<string, { mean_rgb: [number, number, number]; decoded?: string }>;
}

/** What the reference's README allows of another decoder, in grey levels. */
const TOLERANCE = { pixels: 2, means: 0.5 };

const { jpeg } = (await readFixtureJson('preprocess', 'meta.json')) as Meta;

const decoded = new Map<string, Uint8Array>();
for (const { decoded: file } of Object.values(jpeg)) {
  if (file === undefined) continue;
  const { data } = await sharp(fixturePath('preprocess', 'jpeg', file))
    .removeAlpha()
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true });
  decoded.set(file, new Uint8Array(data));
}
it.each(Object.entries(jpeg))('%s', async (name, told) => {
  const bytes = await readFixture('preprocess', 'jpeg', `${name}.jpg`);
  const { width, height } = await sharp(bytes).metadata();
  const got = decodeJpeg(bytes, { width, height });
  const means = told.mean_rgb.map((_, channel) => {
    let sum = 0;
    for (let i = channel; i < got.length; i += 3) sum += got[i] ?? NaN;
    return (3 * sum) / got.length;
  });
  const label = { fixture: 'preprocess', detail: name };
  const error = largestDifference(means, told.mean_rgb);
  hold({ ...label, quantity: 'JPEG means', error, tolerance: TOLERANCE.means });
  const want = told.decoded === undefined ? undefined : decoded.get(told.decoded);
  if (want === undefined) return;
  const worst = largestDifference(got, want);
  hold({ ...label, quantity: 'JPEG pixels', error: worst, tolerance: TOLERANCE.pixels });
});
