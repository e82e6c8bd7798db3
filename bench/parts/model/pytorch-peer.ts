import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { readSafetensors, toFloat32 } from '@armature/policy/checkpoint';
import { z } from 'zod';

const place = (file: string): string => fileURLToPath(new URL(`../../../${file}`, import.meta.url));
const PEER = place('bench/peers/pytorch/peer.py');
const PYTHON = place('.armature/peers-pytorch/bin/python');

const greetingSchema = z.object({ torch: z.string(), compiler: z.string().nullable() });
const checkedSchema = z.union([z.object({ file: z.string() }), z.object({ failure: z.string() })]);
const timedSchema = z.object({ ms: z.array(z.number()) });

/** How PyTorch runs: as it is, or compiled. */
export type Way = 'eager' | 'compiled';

/** What is run: the training step of a mode, or one chunk. */
export type Subject = 'head' | 'full' | 'act';

type Child = ChildProcessByStdio<Writable, Readable, null>;

/** PyTorch in a process of its own, over a folder of settings, weights and inputs. */
export class PytorchPeer {
  readonly version: string;
  /** Whether there is a C++ compiler, which torch.compile needs on a CPU. */
  readonly compiles: boolean;
  private readonly child: Child;
  private readonly lines: AsyncIterator<string>;
  private readonly folder: string;

  private constructor(
    child: Child,
    lines: AsyncIterator<string>,
    folder: string,
    greeting: z.infer<typeof greetingSchema>,
  ) {
    this.child = child;
    this.lines = lines;
    this.folder = folder;
    this.version = greeting.torch;
    this.compiles = greeting.compiler !== null;
  }

  /** What to say where its environment is not installed; undefined where it is. */
  static lack(python = PYTHON): string | undefined {
    if (existsSync(python)) return undefined;
    return 'PyTorch is not compared with: run bench/peers/pytorch/install.sh first';
  }

  /** @throws Error when the process ends before it answers. */
  static async start(folder: string): Promise<PytorchPeer> {
    const child = spawn(PYTHON, ['-B', PEER, folder], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return new PytorchPeer(child, lines, folder, greetingSchema.parse(await next(lines)));
  }

  /**
   * The outputs of one call from the start, by name; a message where torch.compile cannot build it.
   * @throws Error when the process ends.
   */
  async check(what: Subject, way: Way): Promise<ReadonlyMap<string, Float32Array> | string> {
    const reply = checkedSchema.parse(await this.ask({ do: 'check', what, way }));
    if ('failure' in reply) return reply.failure;
    const { tensors } = readSafetensors(await readFile(path.join(this.folder, reply.file)));
    return new Map([...tensors].map(([name, tensor]) => [name, toFloat32(tensor)]));
  }

  /** Milliseconds of each of `calls` calls, after one that does not count. */
  async timed(what: Subject, way: Way, calls: number): Promise<number[]> {
    return timedSchema.parse(await this.ask({ do: 'time', what, way, calls, warmup: 1 })).ms;
  }

  async close(): Promise<void> {
    const ended = once(this.child, 'exit');
    this.child.stdin.end();
    await ended;
  }

  private async ask(request: object): Promise<unknown> {
    this.child.stdin.write(`${JSON.stringify(request)}\n`);
    return next(this.lines);
  }
}

async function next(lines: AsyncIterator<string>): Promise<unknown> {
  const line = await lines.next();
  if (line.done === true) throw new Error('PyTorch’s process ended; what it said stands above');
  return JSON.parse(line.value);
}
