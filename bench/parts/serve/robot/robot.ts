import { connectRobot } from '@armature/sdk';
import type { Answer } from '../asking.ts';
import { seen, spec } from '../fleet.ts';
import type { RobotTask } from './robot-process.ts';

/** A robot's own process: asks for the chunks that it is told to, one after the other, and tells how each went. */

async function ask({ grant, jpeg, warmup, count }: RobotTask): Promise<Answer[]> {
  const robot = await connectRobot({
    embodiment: spec,
    grant,
    resume: () => Promise.reject(new Error('the connection broke')),
  });
  const observation = seen({ jpeg, pixels: jpeg });
  const answers: Answer[] = [];
  for (let i = 0; i < warmup + count; i++) {
    const { latencyMs, timings } = await robot.act(observation);
    answers.push({ latencyMs, timings });
  }
  await robot.close();
  return answers.slice(warmup);
}

process.on('disconnect', () => process.exit());
process.once('message', (task: RobotTask) => {
  void ask(task).then((answers) => process.send?.(answers));
});
