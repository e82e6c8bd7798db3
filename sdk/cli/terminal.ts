import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';

/** Asks on the terminal; the question goes to stderr, so that stdout stays data only. */
export async function ask(
  question: string,
  options: { readonly hidden?: boolean } = {},
): Promise<string> {
  process.stderr.write(question);
  const hidden = options.hidden === true;
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: silent, terminal: hidden });
  try {
    return await new Promise((resolve) => {
      lines.once('line', resolve);
      lines.once('close', () => resolve(''));
      lines.once('SIGINT', () => process.kill(process.pid, 'SIGINT'));
    });
  } finally {
    lines.close();
    if (hidden) process.stderr.write('\n');
  }
}

/** Everything that is piped in. */
export async function readInput(): Promise<string> {
  const chunks: Buffer[] = [];
  const input: AsyncIterable<Buffer> = process.stdin;
  for await (const chunk of input) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}
