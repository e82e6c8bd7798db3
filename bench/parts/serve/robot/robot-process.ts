import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { SessionGrant } from '@armature/sdk/contract';
import type { Answer } from '../asking.ts';
import type { Served } from '../fleet.ts';

/** What a robot connects with, what it sees, and how many chunks it asks for. */
export interface RobotTask extends Pick<Served, 'jpeg' | 'pixels'> {
  readonly grant: SessionGrant;
  /** Chunks before those that count. */
  readonly warmup: number;
  readonly count: number;
}

/**
 * Chunks of a robot in a process of its own, as robots are: neither the bench's heap nor what else it does
 * is in its way.
 */
export async function inProcess(task: RobotTask): Promise<Answer[]> {
  const child = fork(new URL('./robot.ts', import.meta.url), {
    execArgv: ['--import', 'tsx'],
    serialization: 'advanced',
  });
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`the robot ended with exit code ${String(code)}`);
  });
  try {
    child.send(task);
    const [answers] = (await Promise.race([once(child, 'message'), ended])) as [Answer[]];
    return answers;
  } finally {
    ended.catch(() => undefined);
    child.kill();
  }
}
