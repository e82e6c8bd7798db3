import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Worker } from 'node:worker_threads';
import { setTimeout as sleep } from 'node:timers/promises';

export interface BareTimes {
  /** The observation's bytes to another process and a chunk's back, by a socket with nothing in between, ms. */
  readonly socketMs: number[];
  /** A message to a thread and back, ms. */
  readonly threadMs: number[];
}

/** What a chunk costs that no platform could save. */
export interface BareCost {
  readonly up: number;
  readonly down: number;
  readonly count: number;
  /** Rest before each, as long as a run takes: what is woken is cold by then, as it is in use. */
  readonly restMs: number;
}

/** How long this machine takes by itself for the ways that a chunk takes through the platform. */
export async function bareMachine({ up, down, count, restMs }: BareCost): Promise<BareTimes> {
  const echo = fork(new URL('./echo.mjs', import.meta.url), [String(up), String(down)], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    execArgv: [],
  });
  const thread = new Worker(
    "const { parentPort } = require('node:worker_threads'); parentPort.on('message', (m) => parentPort.postMessage(m));",
    { eval: true, execArgv: [] },
  );
  try {
    if (echo.stdout === null) throw new Error('the other process has no output');
    const [port] = (await once(echo.stdout, 'data')) as [Buffer];
    const socket = connect(Number(port.toString()), '127.0.0.1');
    socket.setNoDelay(true);
    await once(socket, 'connect');
    const observation = Buffer.alloc(up);
    const overSocket = async (): Promise<void> => {
      socket.write(observation);
      for (let left = down; left > 0;) {
        const [bytes] = (await once(socket, 'data')) as [Buffer];
        left -= bytes.length;
      }
    };
    const overThread = async (): Promise<void> => {
      thread.postMessage(0);
      await once(thread, 'message');
    };
    await overThread();
    await overSocket();
    const times: BareTimes = { socketMs: [], threadMs: [] };
    for (let i = 0; i < count; i++) {
      times.socketMs.push(await after(restMs, overSocket));
      times.threadMs.push(await after(restMs, overThread));
    }
    socket.destroy();
    return times;
  } finally {
    echo.kill();
    await thread.terminate();
  }
}

async function after(restMs: number, call: () => Promise<void>): Promise<number> {
  await sleep(restMs);
  const started = performance.now();
  await call();
  return performance.now() - started;
}
