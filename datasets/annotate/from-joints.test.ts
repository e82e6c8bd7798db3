import { describe, expect, it } from 'vitest';
import { describeWithRecording } from '../../test/support/recordings.ts';
import { smallEpisode, smallSpec } from '../../test/support/small-dataset.ts';
import { annotateFromJoints, featureStats, fromDirectory, openDataset } from '../index.ts';

describe('annotateFromJoints', () => {
  const small = (episode: number) => {
    const { state, task } = smallEpisode(episode);
    return { state, length: 30, instruction: task };
  };

  it('cuts where the arm and the gripper begin and end to move', () => {
    const labels = annotateFromJoints(small(0), smallSpec, 10);
    const grips = labels.filter((label) => /gripper to/.test(label.text));
    expect(grips).toHaveLength(1);
    // The gripper closes in frames 15 to 19.
    expect(Math.abs((grips[0]?.from ?? 0) - 15)).toBeLessThanOrEqual(2);
    expect(Math.abs((grips[0]?.to ?? 0) - 20)).toBeLessThanOrEqual(2);
    expect(grips[0]?.text).toMatch(/gripper to 100 %\. reach for disc 0$/);
    expect(labels.some((label) => /^Move the arm with the gripper at 0 %/.test(label.text))).toBe(
      true,
    );
    expect(labels.at(-1)?.text).toMatch(/^Move the arm with the gripper at 100 %/);
  });

  it('gives the same sentences again, one for every frame', () => {
    const labels = annotateFromJoints(small(1), smallSpec, 10);
    expect(labels).toEqual(annotateFromJoints(small(1), smallSpec, 10));
    expect(labels[0]?.from).toBe(0);
    expect(labels.at(-1)?.to).toBe(30);
    labels.slice(1).forEach((label, i) => expect(label.from).toBe(labels[i]?.to));
  });

  it('waits where nothing moves', () => {
    const still = { state: new Float32Array(90).fill(0.3), length: 30, instruction: 'rest' };
    expect(annotateFromJoints(still, smallSpec, 10)).toEqual([
      { from: 0, to: 30, text: 'Wait. rest', source: 'joints' },
    ]);
  });

  it('refuses a state of other dimensions', () => {
    const other = { state: new Float32Array(60), length: 30, instruction: 'rest' };
    expect(() => annotateFromJoints(other, smallSpec, 10)).toThrow(/2 values a frame/);
  });

  describeWithRecording('g1-bottle-heldout', (directory) => {
    it('finds the moving hand of a humanoid and leaves the resting arm out', async () => {
      const dataset = await openDataset(fromDirectory(directory));
      const episodes = await Promise.all(
        dataset.episodes.map(({ index }) => dataset.readEpisode(index)),
      );
      const [episode] = episodes;
      if (episode === undefined) throw new Error('the set has no episode');
      const { min, max } = featureStats(
        dataset.actionNames,
        episodes.map(({ action }) => action),
      );
      const labels = annotateFromJoints(
        episode,
        {
          ...smallSpec,
          state: dataset.stateNames.map((name) => ({ name, unit: 'rad' })),
          action: dataset.actionNames.map((name, i) => ({
            name,
            unit: 'rad',
            group: 'arm',
            min: min[i] ?? 0,
            max: (max[i] ?? 0) + 1e-3,
          })),
        },
        dataset.fps,
      );
      expect(labels.length).toBeGreaterThan(3);
      expect(labels.length).toBeLessThan(20);
      expect(labels.at(-1)?.to).toBe(episode.length);
      expect(labels.some(({ text }) => /right hand to \d+ %/.test(text))).toBe(true);
      expect(labels.every(({ text }) => !text.includes('left'))).toBe(true);
      expect(labels.every(({ text }) => text.endsWith(episode.instruction))).toBe(true);
    });
  });
});
