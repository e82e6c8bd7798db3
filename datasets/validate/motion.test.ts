import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EmbodimentSpec } from '@armature/sdk/contract';
import { smallEpisode, smallRecording, smallSpec } from '../../test/support/small-dataset.ts';
import { fromDirectory, type RecordedEpisode, validateSource, writeLeRobot } from '../index.ts';

type Numbers = Pick<RecordedEpisode, 'state' | 'action'>;

describe('what the numbers say', () => {
  let parent: string;
  let sets = 0;
  beforeAll(async () => {
    parent = await mkdtemp(join(tmpdir(), 'armature-motion-'));
  });
  afterAll(async () => {
    await rm(parent, { recursive: true, force: true });
  });

  /** Findings of a set without cameras whose episodes have these numbers. */
  async function findingsOf(
    episodes: readonly Numbers[],
    change: Partial<EmbodimentSpec> = {},
  ): Promise<string[]> {
    const directory = join(parent, String(sets++));
    await writeLeRobot(directory, {
      ...smallRecording(),
      cameras: [],
      episodes: episodes.map((numbers) => ({ ...numbers, task: 'reach', frames: {} })),
    });
    const spec = { ...smallSpec, cameras: [], ...change };
    const report = await validateSource(fromDirectory(directory), spec);
    return report.findings.map(({ code, episode, feature }) =>
      [code, episode, feature].filter((part) => part !== undefined).join(' '),
    );
  }
  const changed = (
    { state, action }: Numbers,
    change: (row: { state: number[]; action: number[] }, t: number) => void,
  ): Numbers => {
    const made = { state: state.slice(), action: action.slice() };
    for (let t = 0; t * 3 < state.length; t += 1) {
      const row = {
        state: Array.from(state.subarray(t * 3, t * 3 + 3)),
        action: Array.from(action.subarray(t * 3, t * 3 + 3)),
      };
      change(row, t);
      made.state.set(row.state, t * 3);
      made.action.set(row.action, t * 3);
    }
    return made;
  };
  const plain = smallEpisode(0, 60);

  it('is nothing for a good set', async () => {
    expect(await findingsOf([plain, smallEpisode(1, 60)])).toEqual([]);
  });

  it('shows actions that are the state, or the next state', async () => {
    const same = changed(plain, (row) => (row.action = row.state));
    expect(await findingsOf([same])).toContain('action_is_state 0 action');
    const next = { state: plain.state, action: plain.state.slice() };
    next.action.set(plain.state.subarray(3));
    expect(await findingsOf([plain, next])).toEqual(['action_is_next_state 1 action']);
  });

  it('shows numbers that stand still in the middle', async () => {
    const still = changed(plain, (row, t) => {
      if (t < 10 || t >= 45) return;
      row.state = [0.3, 0.2, 0];
      row.action = [0.3, 0.25, 0];
    });
    expect(await findingsOf([still])).toEqual(['frozen_rows 0 state']);
  });

  it('shows an episode that is there twice', async () => {
    expect(await findingsOf([plain, smallEpisode(1, 60), plain])).toEqual(['same_episode 2']);
  });

  it('shows a unit that cannot be', async () => {
    const degrees = changed(plain, (row) => {
      row.state = row.state.map((value) => value * 57.3);
    });
    expect(await findingsOf([degrees])).toEqual([
      'outside_limits state.shoulder',
      'outside_limits state.elbow',
      'unit_suspicion state.shoulder',
      'unit_suspicion state.elbow',
      'unit_suspicion state.gripper',
    ]);
    const spec = { state: smallSpec.state.map((joint) => ({ ...joint, unit: 'deg' })) };
    expect(await findingsOf([plain], spec)).toContain('unit_suspicion state.elbow');
  });

  it('shows a gripper that runs against its command', async () => {
    const reversed = changed(plain, (row) => (row.state[2] = 1 - (row.state[2] ?? 0)));
    expect(await findingsOf([reversed])).toEqual(['gripper_sense action.gripper']);
  });
});
