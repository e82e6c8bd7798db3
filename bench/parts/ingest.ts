import path from 'node:path';
import {
  type Dataset,
  fromDirectory,
  openDataset,
  validateDataset,
  writeLeRobot,
} from '@armature/datasets';
import { embodimentSpecSchema, type EmbodimentSpec } from '@armature/sdk/contract';
import { recordDemos, trio } from '@armature/sim';
import type { Figure, PartOptions } from '../result.ts';

const RECORDED = 20;

/** Reading a set where it lies: every row and every picture of every episode. */
export async function measureIngest({ dataset: folder, scratch }: PartOptions): Promise<Figure[]> {
  const dir = folder ?? (await record(path.join(scratch, 'recorded')));
  const dataset = await openDataset(fromDirectory(dir));
  const report = await validateDataset(dataset, specOf(dataset));
  const errors = report.findings.filter((finding) => finding.severity === 'error');
  const [first] = errors;
  if (first !== undefined) throw new Error(`${dir} can not be measured: ${first.message}`);
  const camera = report.cameras[0];
  return [
    { name: 'episodes', value: report.episodes, unit: '' },
    { name: 'frames', value: report.frames, unit: '' },
    { name: 'picture size', value: (camera?.width ?? 0) * (camera?.height ?? 0), unit: 'pixels' },
    { name: 'checked', value: report.ingest.frames_per_s, unit: 'frames/s' },
    { name: 'in all', value: report.ingest.seconds, unit: 's' },
  ];
}

async function record(dir: string): Promise<string> {
  const { spec } = trio;
  await writeLeRobot(dir, {
    robotType: trio.name,
    fps: spec.control_hz,
    stateNames: spec.state.map((joint) => joint.name),
    actionNames: spec.action.map((joint) => joint.name),
    cameras: spec.cameras,
    episodes: recordDemos({ embodiment: trio, episodes: RECORDED, seed: 1 }),
  });
  return dir;
}

/** An embodiment that the set fits, with limits that nothing leaves. */
function specOf(dataset: Dataset): EmbodimentSpec {
  const far = 1e9;
  return embodimentSpecSchema.parse({
    name: 'bench',
    control_hz: dataset.fps,
    horizon: 16,
    state: dataset.stateNames.map((name) => ({ name, unit: 'any' })),
    action: dataset.actionNames.map((name) => ({
      name,
      unit: 'any',
      group: 'all',
      min: -far,
      max: far,
    })),
    references: { all: 'absolute' },
    cameras: dataset.cameras.map(({ name, width, height }) => ({
      name,
      kind: 'external',
      width,
      height,
    })),
    on_violation: 'clamp',
    when_starved: 'hold',
  });
}
