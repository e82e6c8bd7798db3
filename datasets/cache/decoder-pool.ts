import { Worker } from 'node:worker_threads';
import { ArmatureError, errorCodeSchema } from '@armature/sdk/contract';
import { throwIfCancelled } from '../cancel.ts';
import type { DecoderReply, DecoderRequest, DecoderSettings } from './protocol.ts';

export type DecodeTask = Omit<Extract<DecoderRequest, { kind: 'decode' }>, 'kind'>;

/** A task, and what is to be cleaned up when it is over, however it ended. */
export interface PreparedTask extends DecodeTask {
  readonly release?: () => Promise<void>;
}

export interface PoolOptions extends DecoderSettings {
  readonly threads: number;
  readonly signal: AbortSignal;
  readonly onFrames: (frames: number) => void;
}

/**
 * Decodes videos in threads, each thread one video at a time. Tasks are prepared when a thread is
 * free for them. The first failure stops the others; every thread has ended when this settles.
 * @throws ArmatureError of the failed task, or `cancelled`.
 */
export async function decodeAll(
  tasks: readonly (() => Promise<PreparedTask>)[],
  options: PoolOptions,
): Promise<void> {
  throwIfCancelled(options.signal);
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const waiting = [...tasks];
  const lane = async (): Promise<void> => {
    const thread = startThread(options);
    const cancel = (): void => thread.post({ kind: 'cancel' });
    signal.addEventListener('abort', cancel);
    try {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        throwIfCancelled(signal);
        const { release, ...task } = await next();
        try {
          await thread.run(task);
        } finally {
          await release?.();
        }
      }
    } catch (error) {
      stop.abort(error);
      throw error;
    } finally {
      signal.removeEventListener('abort', cancel);
      await thread.end();
    }
  };
  const lanes = Math.max(1, Math.min(options.threads, tasks.length));
  const results = await Promise.allSettled(Array.from({ length: lanes }, lane));
  throwIfCancelled(options.signal);
  signal.throwIfAborted();
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

interface DecoderThread {
  post(request: DecoderRequest): void;
  run(task: DecodeTask): Promise<void>;
  end(): Promise<void>;
}

function startThread(options: PoolOptions): DecoderThread {
  const settings: DecoderSettings = {
    preprocessModule: options.preprocessModule,
    size: options.size,
  };
  const worker = new Worker(new URL('./decoder.mjs', import.meta.url), {
    workerData: settings,
    name: 'frame decoder',
  });
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  let settle: { resolve: () => void; reject: (error: unknown) => void } | null = null;
  let crash: unknown = null;
  const fail = (error: unknown): void => {
    crash ??= error;
    settle?.reject(crash);
    settle = null;
  };
  worker.on('message', (reply: DecoderReply) => {
    if (reply.kind === 'progress') options.onFrames(reply.frames);
    else if (reply.kind === 'failed') settle?.reject(toError(reply));
    else settle?.resolve();
  });
  worker.on('error', fail);
  worker.on('exit', (code) => fail(new Error(`a frame decoder ended with code ${code}`)));
  const post = (request: DecoderRequest): void => worker.postMessage(request);
  return {
    post,
    run: (task) =>
      new Promise<void>((resolve, reject) => {
        if (crash !== null) {
          reject(toReason(crash));
          return;
        }
        settle = { resolve, reject };
        post({ kind: 'decode', ...task });
      }),
    async end() {
      settle = null;
      post({ kind: 'cancel' });
      await ended;
    },
  };
}

const toReason = (error: unknown): Error =>
  error instanceof Error ? error : new Error(String(error));

function toError(reply: Extract<DecoderReply, { kind: 'failed' }>): ArmatureError {
  const code = errorCodeSchema.safeParse(reply.code);
  return new ArmatureError(code.success ? code.data : 'internal', reply.message, {
    ...(reply.field === undefined ? {} : { field: reply.field }),
    ...(reply.fix === undefined ? {} : { fix: reply.fix }),
  });
}
