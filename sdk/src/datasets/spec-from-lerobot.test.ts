import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { ArmatureError } from '../../contract/index.ts';
import { specFromLeRobot } from './spec-from-lerobot.ts';

const dirs: string[] = [];
afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

const info = {
  codebase_version: 'v2.1',
  robot_type: 'so101',
  fps: 30,
  total_episodes: 2,
  features: {
    'observation.state': { dtype: 'float32', shape: [2], names: { motors: ['elbow', 'gripper'] } },
    action: { dtype: 'float32', shape: [2], names: ['elbow', 'gripper'] },
    'observation.images.front': {
      dtype: 'video',
      shape: [48, 64, 3],
      names: ['height', 'width', 'channel'],
    },
    'observation.images.wrist_cam': {
      dtype: 'image',
      shape: [3, 32, 40],
      names: ['channels', 'height', 'width'],
    },
    timestamp: { dtype: 'float32', shape: [1], names: null },
  },
};
const stats = [
  { 'observation.state': { min: [-1, 0], max: [0, 0.9] }, action: { min: [-1, 0], max: [0, 0.5] } },
  { 'observation.state': { min: [-1, 0], max: [0, 0.9] }, action: { min: [0, 0.2], max: [1, 1] } },
];

function folder(meta: Record<string, string>): string {
  const dir = mkdtempSync(join(tmpdir(), 'spec-'));
  dirs.push(dir);
  mkdirSync(join(dir, 'meta'));
  for (const [name, text] of Object.entries(meta)) writeFileSync(join(dir, 'meta', name), text);
  return dir;
}
const jsonl = stats.map((s, i) => JSON.stringify({ episode_index: i, stats: s })).join('\n');

describe('specFromLeRobot', () => {
  it('takes names, cameras, rate and limits from the set', async () => {
    const dir = folder({ 'info.json': JSON.stringify(info), 'episodes_stats.jsonl': `${jsonl}\n` });
    expect(await specFromLeRobot(dir)).toEqual({
      name: 'so101',
      control_hz: 30,
      horizon: 16,
      state: [
        { name: 'elbow', unit: 'rad' },
        { name: 'gripper', unit: 'ratio' },
      ],
      action: [
        { name: 'elbow', unit: 'rad', group: 'joints', min: -1.2, max: 1.2 },
        { name: 'gripper', unit: 'ratio', group: 'gripper', min: 0, max: 1 },
      ],
      references: { joints: 'state', gripper: 'state' },
      cameras: [
        { name: 'front', kind: 'external', width: 64, height: 48 },
        { name: 'wrist_cam', kind: 'wrist', width: 40, height: 32 },
      ],
      on_violation: 'clamp',
      when_starved: 'hold',
    });
  });

  it('reads stats.json where there are none per episode', async () => {
    const dir = folder({
      'info.json': JSON.stringify(info),
      'stats.json': JSON.stringify(stats[0]),
    });
    const spec = await specFromLeRobot(dir, {
      name: 'mine',
      horizon: 8,
      reference: 'last_command',
    });
    expect([spec.name, spec.horizon, spec.action[0]?.max]).toEqual(['mine', 8, 0.1]);
    expect(spec.references).toEqual({ joints: 'last_command', gripper: 'last_command' });
  });

  it.each([
    ['invalid_dataset', 'meta/info.json', {}],
    ['invalid_dataset', 'fps', { 'info.json': JSON.stringify({ ...info, fps: 0 }) }],
    [
      'empty_dataset',
      'meta/info.json.total_episodes',
      { 'info.json': JSON.stringify({ ...info, total_episodes: 0 }) },
    ],
    ['invalid_dataset', 'meta/episodes_stats.jsonl', { 'info.json': JSON.stringify(info) }],
    [
      'invalid_dataset',
      'meta/info.json.features.action',
      { 'info.json': JSON.stringify({ ...info, features: {} }) },
    ],
  ])('%s naming %s', async (code, field, meta) => {
    const error: unknown = await specFromLeRobot(folder(meta)).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ArmatureError);
    expect(error).toMatchObject({ code, field });
  });

  const g1 = join(import.meta.dirname, '../../../../shared/data/g1-bottle-50');
  const required = process.env['ARMATURE_REQUIRE_SHARED'] === '1';
  it.skipIf(!existsSync(g1) && !required)('describes the G1 recordings (shared data)', async () => {
    const spec = await specFromLeRobot(g1);
    expect([spec.control_hz, spec.state.length, spec.action.length]).toEqual([30, 26, 26]);
    expect(spec.cameras).toEqual([{ name: 'cam_high', kind: 'external', width: 640, height: 480 }]);
    expect(spec.references).toEqual({ left_arm: 'state', right_arm: 'state', hands: 'state' });
    const groups = spec.action.map(({ group }) => group);
    expect(groups.slice(0, 7)).toEqual(new Array(7).fill('left_arm'));
    expect(groups.slice(7, 14)).toEqual(new Array(7).fill('right_arm'));
    expect(groups.slice(14)).toEqual(new Array(12).fill('hands'));
    expect(spec.action[24]).toMatchObject({ name: 'kRightHandThumbBend', unit: 'ratio' });
    expect(spec.action.every(({ min, max }) => min < max)).toBe(true);
  });
});
