import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Dataset,
  type Recording,
  type RecordedEpisode,
  writeLeRobot,
} from '@armature/datasets';
import type { EmbodimentSpec } from '@armature/sdk/contract';

export const SMALL_SIZE = 48;
export const SMALL_FPS = 10;

/** The embodiment that `smallRecording` fits: three state joints, one of them no action, a gripper. */
export const smallSpec: EmbodimentSpec = {
  name: 'small arm',
  control_hz: SMALL_FPS,
  horizon: 8,
  state: ['shoulder', 'elbow', 'gripper'].map((name) => ({ name, unit: 'rad' })),
  action: [
    { name: 'shoulder', unit: 'rad', group: 'arm', min: -2, max: 2 },
    { name: 'elbow', unit: 'rad', group: 'arm', min: -2, max: 2 },
    { name: 'gripper', unit: 'ratio', group: 'hand', min: 0, max: 1 },
  ],
  references: { arm: 'state', hand: 'absolute' },
  cameras: [{ name: 'top', kind: 'external', width: SMALL_SIZE, height: SMALL_SIZE }],
  on_violation: 'clamp',
  when_starved: 'hold',
};

/** An embodiment that a recorded set with one head camera of 640×480 fits, its limits wide. */
export function recordedSpec(
  dataset: Pick<Dataset, 'fps' | 'stateNames' | 'actionNames'>,
): EmbodimentSpec {
  return {
    ...smallSpec,
    control_hz: dataset.fps,
    state: dataset.stateNames.map((name) => ({ name, unit: 'rad' })),
    action: dataset.actionNames.map((name) => {
      return { name, unit: 'rad', group: 'arm', min: -4, max: 4 };
    }),
    cameras: [{ name: 'cam_high', kind: 'external', width: 640, height: 480 }],
  };
}

/** A coloured disc that moves over a plain ground: small pictures of strong colours. */
export function discPicture(episode: number, t: number, size = SMALL_SIZE): Uint8Array {
  const picture = new Uint8Array(size * size * 3).fill(240);
  const colour = [(episode * 90) % 256, 255 - ((episode * 60) % 256), (episode * 30) % 256];
  const x0 = (size * (0.2 + 0.02 * t)) % size;
  const y0 = size * 0.5;
  for (let y = 0; y < size; y += 1) {
    for (let x = 0; x < size; x += 1) {
      if ((x - x0) ** 2 + (y - y0) ** 2 < 16) picture.set(colour, (y * size + x) * 3);
    }
  }
  return picture;
}

/** Reaches, closes the gripper and lifts; each episode a little different, without randomness. */
export function smallEpisode(episode: number, length = 30): RecordedEpisode {
  const state = new Float32Array(length * 3);
  const action = new Float32Array(length * 3);
  for (let t = 0; t < length; t += 1) {
    const reach = Math.min(1, Math.max(0, (t - 4) / 8));
    const grip = t < 16 ? 0 : Math.min(1, (t - 15) / 4);
    const lift = Math.max(0, (t - 20) / (length - 20));
    const sway = 0.01 * Math.sin(t + episode);
    const row = [reach + sway, 0.5 * reach - lift + 0.1 * episode, grip];
    state.set(row, t * 3);
    action.set([row[0] ?? 0, (row[1] ?? 0) + 0.05, grip], t * 3);
  }
  return {
    state,
    action,
    task: `reach for disc ${episode % 2}`,
    frames: { top: Array.from({ length }, (_, t) => discPicture(episode, t)) },
  };
}

export function smallRecording(episodes = 3, length = 30): Recording {
  return {
    robotType: 'small_arm',
    fps: SMALL_FPS,
    stateNames: smallSpec.state.map((joint) => joint.name),
    actionNames: smallSpec.action.map((joint) => joint.name),
    cameras: smallSpec.cameras.map(({ name, width, height }) => ({ name, width, height })),
    episodes: Array.from({ length: episodes }, (_, episode) => smallEpisode(episode, length)),
  };
}

/** Writes a small set into a new temporary folder; `remove` takes it away. */
export async function writeSmallDataset(
  recording: Recording = smallRecording(),
): Promise<{ directory: string; remove: () => Promise<void> }> {
  const parent = await mkdtemp(join(tmpdir(), 'armature-set-'));
  const directory = join(parent, 'set');
  await writeLeRobot(directory, recording);
  return { directory, remove: () => rm(parent, { recursive: true, force: true }) };
}
