import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fromDirectory, openDataset, validateDataset } from '@armature/datasets';
import { exportLeRobot, SessionRecorder } from '@armature/sdk';
import { embodimentSpecSchema } from '@armature/sdk/contract';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Chunk } from '../sdk/src/robot/chunk.ts';
import { arm } from '../sdk/src/testing/two-joint-arm.ts';

const STEPS = 300;
let folder: string;
let target: string;
const jpegs: Uint8Array[] = [];
const pixels = (t: number): Uint8Array =>
  Uint8Array.from({ length: 8 * 8 * 3 }, (_, i) => (i * 7 + t) % 256);

/** An episode as a control loop records it: pictures of both kinds, reasonings, two tasks. */
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'armature-recorded-'));
  target = path.join(folder, 'set');
  const recorder = new SessionRecorder(arm);
  for (let t = 0; t < STEPS; t++) {
    const picture = Uint8Array.from({ length: 16 * 12 * 3 }, (_, i) => (i + 3 * t) % 256);
    const raw = { width: 16, height: 12, channels: 3 } as const;
    const jpeg = new Uint8Array(await sharp(picture, { raw }).jpeg().toBuffer());
    jpegs.push(jpeg);
    const n = Math.floor(t / 8);
    recorder.add({
      observation: {
        images: { top: { jpeg }, wrist: { pixels: pixels(t) } },
        state: { shoulder: Math.sin(t / 20), elbow: Math.cos(t / 20), gripper: (t % 50) / 50 },
        ...(t === 0 ? { instruction: 'lift the cup' } : {}),
      },
      action: Float32Array.of(Math.sin((t + 1) / 20), ((t + 1) % 50) / 50),
      chunk: {
        chunkId: `ses:1:${n}`,
        reasoning: { id: `r${n}`, text: `reach ${n}`, age_ms: 5 },
      } as Chunk<typeof arm>,
      step: t % 8,
      tick: t,
    });
  }
  await exportLeRobot(recorder, target);
});
afterAll(() => rm(folder, { recursive: true }));

describe('an episode that a robot exports', () => {
  it('is read back with its cameras, numbers, task and reasonings', async () => {
    const set = await openDataset(fromDirectory(target));
    expect(set.cameras).toMatchObject([
      { name: 'top', width: 16, height: 12 },
      { name: 'wrist', width: 8, height: 8 },
    ]);
    expect(set.stateNames).toEqual(['shoulder', 'elbow', 'gripper']);
    const episode = await set.readEpisode(0);
    expect([episode.length, episode.instruction]).toEqual([STEPS, 'lift the cup']);
    expect(episode.action[2 * 299]).toBeCloseTo(Math.sin(15), 6);
    expect(episode.labels).toHaveLength(Math.ceil(STEPS / 8));
    expect(episode.labels[3]).toEqual({
      from: 24,
      to: 32,
      text: 'reach 3',
      source: 'policy:r3',
    });
    await set.close();
  });

  it('shows the very pictures that the policy saw, over more than one row group', async () => {
    const set = await openDataset(fromDirectory(target));
    const seen: number[] = [];
    const count = await set.decodeFrames(0, 'wrist', (t, rgb, width, height) => {
      seen.push(t);
      expect([width, height]).toEqual([8, 8]);
      expect(Buffer.from(rgb).equals(pixels(t))).toBe(true);
    });
    expect([count, seen.length]).toEqual([STEPS, STEPS]);
    let last = new Uint8Array();
    await set.decodeFrames(0, 'top', (_, rgb) => {
      last = Uint8Array.from(rgb);
    });
    const expected = await sharp(jpegs.at(-1)).raw().toBuffer();
    const apart = expected.map((value, i) => Math.abs(value - (last[i] ?? 0)));
    // Two decoders of JPEG may round differently.
    expect(Math.max(...apart)).toBeLessThan(12);
    await set.close();
  });

  it('passes the checks that a set is pushed through', async () => {
    const set = await openDataset(fromDirectory(target));
    const { cameras, frames, findings } = await validateDataset(
      set,
      embodimentSpecSchema.parse(arm),
    );
    expect([cameras.map(({ name }) => name), frames]).toEqual([['top', 'wrist'], STEPS]);
    expect(findings.filter(({ severity }) => severity === 'error')).toEqual([]);
    await set.close();
  });

  it('is there whole or not at all', async () => {
    await expect(
      exportLeRobot(new SessionRecorder(arm), path.join(folder, 'none')),
    ).rejects.toThrow(/no executed action/);
    const again = new SessionRecorder(arm);
    again.add({
      observation: {
        images: { top: { jpeg: jpegs[0] ?? new Uint8Array() }, wrist: { pixels: pixels(0) } },
        state: { shoulder: 0, elbow: 0, gripper: 0 },
        instruction: 'lift',
      },
      action: Float32Array.of(0, 0),
      chunk: { chunkId: 'c', reasoning: null } as Chunk<typeof arm>,
      step: 0,
      tick: 0,
    });
    await expect(exportLeRobot(again, target)).rejects.toMatchObject({
      code: expect.stringMatching(/ENOTEMPTY|EEXIST/) as string,
    });
    expect(await readdir(folder)).toEqual(['set']);
  });
});
