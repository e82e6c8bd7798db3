import { connectRobot } from '@armature/sdk';
import { askInTurn, type Answer } from '../asking.ts';
import { spec } from '../fleet.ts';
import type { RobotTask } from './robot-process.ts';

/** A robot's own process: asks for the chunks that it is told to, one after the other, and tells how each went. */

async function ask({ grant, warmup, count, ...seen }: RobotTask): Promise<Answer[]> {
  const robot = await connectRobot({
    embodiment: spec,
    grant,
    resume: () => Promise.reject(new Error('the connection broke')),
  });
  const answers = await askInTurn(robot, seen, warmup + count);
  await robot.close();
  return answers.slice(warmup);
}

process.on('disconnect', () => process.exit());
process.once('message', (task: RobotTask) => {
  void ask(task).then((answers) => process.send?.(answers));
});
