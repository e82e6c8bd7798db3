import { Worker } from 'node:worker_threads';
import type { ImageReply, ImageRequest, ImageThreadData } from './protocol.ts';

/** A picture took a thread longer than any may. */
export class TookTooLong extends Error {
  override readonly name = 'TookTooLong';
}

interface Pending {
  readonly resolve: (reply: ImageReply) => void;
  readonly reject: (error: Error) => void;
}

/** One image thread, which does one picture at a time. After it ended, every call rejects. */
export class ImageThread {
  /** Resolves once it has done a picture, however long its start took; rejects when it ends before. */
  readonly ready: Promise<unknown>;
  private readonly worker: Worker;
  private readonly limitMs: number;
  private pending: Pending | undefined;
  private ended: Error | undefined;
  private readonly onEnd: (error: Error) => void;

  /**
   * @param places of tickets, which all threads of a pool share
   * @param limitMs longest that a picture may take; then the thread ends
   * @param onEnd told once when the thread ends without having been closed.
   */
  constructor(
    name: string,
    places: SharedArrayBuffer,
    limitMs: number,
    onEnd: (error: Error) => void,
  ) {
    this.limitMs = limitMs;
    this.onEnd = onEnd;
    const workerData: ImageThreadData = { places };
    this.worker = new Worker(new URL('./worker.mjs', import.meta.url), {
      name,
      execArgv: [],
      workerData,
    });
    this.worker.on('message', (reply: ImageReply) => this.take()?.resolve(reply));
    this.worker.on('error', (error) => this.end(error));
    this.worker.on('exit', (code) => this.end(new Error(`thread ${name} ended with code ${code}`)));
    const size = { width: 1, height: 1 };
    this.ready = this.post({ kind: 'pixels', bytes: new Uint8Array(3), size, target: size });
  }

  /**
   * Does one picture; the one before must be done. Hands the bytes over: they are gone here afterwards.
   * @throws TookTooLong
   */
  ask(request: ImageRequest): Promise<ImageReply> {
    const timer = setTimeout(() => {
      this.end(new TookTooLong(`it took longer than ${this.limitMs} ms`));
      void this.worker.terminate();
    }, this.limitMs);
    return this.post(request).finally(() => clearTimeout(timer));
  }

  async close(): Promise<void> {
    this.stop(new Error('the image threads are closed'));
    await this.worker.terminate();
  }

  private post(request: ImageRequest): Promise<ImageReply> {
    if (this.ended !== undefined) return Promise.reject(this.ended);
    return new Promise((resolve, reject) => {
      this.pending = { resolve, reject };
      this.worker.postMessage(request, [request.bytes.buffer as ArrayBuffer]);
    });
  }

  private end(error: Error): void {
    if (this.ended !== undefined) return;
    this.stop(error);
    this.onEnd(error);
  }

  private stop(error: Error): void {
    this.ended ??= error;
    this.take()?.reject(this.ended);
  }

  private take(): Pending | undefined {
    const { pending } = this;
    this.pending = undefined;
    return pending;
  }
}
