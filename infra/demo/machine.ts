import os from 'node:os';

/** The machine in a line, so that figures can be judged. */
export function machineLine(): string {
  const [first] = os.cpus();
  const memory = Math.round(os.totalmem() / 1024 ** 3);
  const model = first?.model.trim() ?? 'unknown processor';
  return `${model}, ${os.availableParallelism()} cores, ${memory} GiB, Node ${process.versions.node}, ${os.platform()}`;
}
