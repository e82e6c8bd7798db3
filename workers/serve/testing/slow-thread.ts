import { Worker } from 'node:worker_threads';
import type { ActRow } from '../policies/index.ts';
import { FakeRuntime } from './fake-runtime.ts';

const SPIN = `
const { parentPort } = require('node:worker_threads');
parentPort.on('message', ({ ticket, ms }) => {
  const end = performance.now() + ms;
  while (performance.now() < end);
  parentPort.postMessage(ticket);
});`;

/** A fake model whose runs keep a thread of their own busy for `ms` each, as an engine does. */
export class SlowThreadRuntime extends FakeRuntime {
  private readonly thread = new Worker(SPIN, { eval: true });
  private ticket = 0;

  constructor(ms: number) {
    super();
    this.pace = () => {
      const ticket = ++this.ticket;
      return new Promise((resolve) => {
        const hear = (done: number) => {
          if (done !== ticket) return;
          this.thread.off('message', hear);
          resolve();
        };
        this.thread.on('message', hear);
        this.thread.postMessage({ ticket, ms });
      });
    };
    this.actions = (row: ActRow) => new Float32Array(16).fill(row.state[0]!);
  }

  async close(): Promise<void> {
    await this.thread.terminate();
  }
}
