import path from 'node:path';
import type { FinetuneOptions } from '@armature/sdk/contract';
import { duo, type Embodiment, trio } from '@armature/sim';
import { finetune, push, type PushedDataset, type Stage, type TrainedPolicy } from '../jobs.ts';
import { recordDemonstrations } from './demonstrations.ts';

const DEMONSTRATIONS = 50;
const SEED = 2026;
const CURVE = [5, 10, 20] as const;
/** Of the policy that is there for comparison. */
const FEWER_STEPS = 500;

/** An arm of the simulator that the platform knows and has the demonstrations of. */
export interface TaughtRobot {
  readonly embodiment: Embodiment;
  readonly description: string;
  /** Id of its embodiment at the platform. */
  readonly id: string;
  readonly data: PushedDataset;
}

/** A robot with the policies that are compared. */
export interface Robot extends TaughtRobot {
  readonly before: TrainedPolicy;
  readonly after: TrainedPolicy;
  /** Its actions are relative to the last command instead of the state. */
  readonly byCommand: TrainedPolicy;
  /** Trained on fewer demonstrations. */
  readonly curve: readonly { readonly demos: number; readonly policy: TrainedPolicy }[];
}

/** Both arms that pre-training never draws. */
export const arms: readonly { readonly embodiment: Embodiment; readonly description: string }[] = [
  { embodiment: duo, description: 'Two joints, one external camera' },
  {
    embodiment: trio,
    description: 'Three joints and a gripper, one external camera and one at the wrist',
  },
];

/** Registers an arm, records its demonstrations and uploads them. */
export async function teach(
  stage: Stage,
  arm: { readonly embodiment: Embodiment; readonly description: string },
  folder: string,
): Promise<TaughtRobot> {
  const { client, screen, signal } = stage;
  const { embodiment } = arm;
  const { id } = await client.embodiments.create({ spec: embodiment.spec }, { signal });
  const dir = path.join(folder, embodiment.name);
  await recordDemonstrations(screen, {
    embodiment,
    episodes: DEMONSTRATIONS,
    seed: SEED,
    dir,
    signal,
  });
  const data = await push(stage, { dir, name: embodiment.name, embodimentId: id });
  return { ...arm, id, data };
}

/** Policies of one robot: an untrained head, trained ones, and those on fewer demonstrations. */
export async function trainPolicies(
  stage: Stage,
  robot: TaughtRobot,
  options: { readonly curve: boolean; readonly seconds: number | undefined },
): Promise<Robot> {
  const { name } = robot.embodiment;
  const limit = options.seconds === undefined ? {} : { max_seconds: options.seconds };
  const train = (label: string, more: Partial<FinetuneOptions>) =>
    finetune(stage, {
      name: `${name}: ${label}`,
      datasetId: robot.data.dataset.id,
      options: { mode: 'head', ...limit, ...more },
    });
  const before = await train('fresh head', { steps: 0 });
  const after = await train('fine-tune', {});
  const byCommand = await train('relative to the last command', {
    reference: 'last_command',
    steps: FEWER_STEPS,
  });
  const curve: { demos: number; policy: TrainedPolicy }[] = [];
  for (const demos of options.curve ? CURVE : []) {
    curve.push({ demos, policy: await train(`${demos} demonstrations`, { max_episodes: demos }) });
  }
  return { ...robot, before, after, byCommand, curve };
}
