import { Worker } from 'node:worker_threads';
import type { ImageReply, ImageRequest } from './protocol.ts';

interface Pending {
  readonly resolve: (reply: ImageReply) => void;
  readonly reject: (error: Error) => void;
}

/** One image thread. After it ended, every call rejects. */
export class ImageThread {
  private readonly worker: Worker;
  private readonly pending = new Map<number, Pending>();
  private next = 0;
  private ended: Error | undefined;
  private readonly onEnd: (error: Error) => void;

  /** @param onEnd told once when the thread ends without having been closed. */
  constructor(name: string, onEnd: (error: Error) => void) {
    this.onEnd = onEnd;
    this.worker = new Worker(new URL('./worker.mjs', import.meta.url), { name, execArgv: [] });
    this.worker.on('message', (reply: ImageReply) => {
      this.pending.get(reply.ticket)?.resolve(reply);
      this.pending.delete(reply.ticket);
    });
    this.worker.on('error', (error) => this.end(error));
    this.worker.on('exit', (code) => this.end(new Error(`thread ${name} ended with code ${code}`)));
  }

  /** Pictures it has not answered yet; Infinity once it ended. */
  get load(): number {
    return this.ended === undefined ? this.pending.size : Infinity;
  }

  /** Hands the bytes over: they are gone here afterwards. */
  ask(request: Omit<ImageRequest, 'ticket'>): Promise<ImageReply> {
    if (this.ended !== undefined) return Promise.reject(this.ended);
    const ticket = this.next;
    this.next += 1;
    return new Promise((resolve, reject) => {
      this.pending.set(ticket, { resolve, reject });
      this.worker.postMessage({ ...request, ticket }, [request.bytes.buffer as ArrayBuffer]);
    });
  }

  async close(): Promise<void> {
    this.stop(new Error('the image threads are closed'));
    await this.worker.terminate();
  }

  private end(error: Error): void {
    if (this.ended !== undefined) return;
    this.stop(error);
    this.onEnd(error);
  }

  private stop(error: Error): void {
    this.ended ??= error;
    for (const { reject } of this.pending.values()) reject(this.ended);
    this.pending.clear();
  }
}
