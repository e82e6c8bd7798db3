import os from 'node:os';

const LEAST = 19;

/**
 * Has the calling thread, and those that it starts, give way to the process's others when there are not cores
 * for all: on Linux alone, where a priority is a thread's own.
 * @param niceness 0 (not at all) to 19
 */
export function stepBack(niceness: number): void {
  if (niceness === 0 || process.platform !== 'linux') return;
  os.setPriority(Math.min(LEAST, os.getPriority() + niceness));
}
