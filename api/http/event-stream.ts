import { ArmatureError, endedFinetuneStatuses, type JobEvent } from '@armature/sdk/contract';
import type { Hono } from 'hono';
import { streamSSE } from 'hono/streaming';
import type { Call } from '../call.ts';
import { callerOf, type Caller } from '../caller.ts';
import { classifyError } from '../errors.ts';
import type { HttpEnv } from './rest.ts';

/** Path of a fine-tune's progress as server-sent events. */
export const EVENT_STREAM_PATH = '/v1/finetunes/:id/stream';
/** Time between two looks at the history. */
const POLL_MS = 1_000;
/** A line at least this often, so that nothing between takes the connection for dead. */
const KEEP_ALIVE_MS = 15_000;
const ENDED: ReadonlySet<string> = new Set(endedFinetuneStatuses);

/**
 * The history of a fine-tune as it grows: `id` is the event's `seq`, `event` its kind, `data` the
 * event. `Last-Event-ID` goes on behind that one. An event `end` with the fine-tune closes the
 * stream; one with a problem tells why it broke off (the key or the sign-in may have ended meanwhile: every look
 * is a call of `finetunes.events` of its own). To the rate of requests a stream is one.
 */
export function mountEventStream(
  app: Hono<HttpEnv>,
  call: Call,
  origin: string,
  pollMs = POLL_MS,
): void {
  app.get(EVENT_STREAM_PATH, async (c) => {
    const id = c.req.param('id');
    const requestId = c.get('requestId');
    const caller = callerOf(requestId, (header) => c.req.header(header));
    const look = async (as: Caller, after: number): Promise<JobEvent[]> =>
      (await call('finetunes.events', as, () => Promise.resolve({ id, after }))).items;
    // The first look answers as REST does where the caller may not see this.
    let waiting = await look(caller, lastSeen(c.req.header('last-event-id')));
    const again: Caller = { ...caller, isCounted: true };
    c.header('cache-control', 'no-store');
    c.header('x-accel-buffering', 'no');
    return streamSSE(c, async (stream) => {
      let after = lastSeen(c.req.header('last-event-id'));
      let silentMs = 0;
      try {
        while (!stream.aborted) {
          for (const event of waiting) {
            const data = JSON.stringify(event);
            await stream.writeSSE({ id: String(event.seq), event: event.kind, data });
            after = event.seq;
          }
          const finetune = await call('finetunes.get', again, () => Promise.resolve({ id }));
          const more = await look(again, after);
          if (more.length === 0 && ENDED.has(finetune.status)) {
            await stream.writeSSE({ event: 'end', data: JSON.stringify(finetune) });
            return;
          }
          silentMs = waiting.length > 0 ? 0 : silentMs + pollMs;
          if (silentMs >= KEEP_ALIVE_MS) {
            await stream.write(': still here\n\n');
            silentMs = 0;
          }
          waiting = more;
          if (waiting.length === 0) await stream.sleep(pollMs);
        }
      } catch (thrown) {
        const problem = classifyError(thrown).toProblem(requestId, origin);
        await stream.writeSSE({ event: 'problem', data: JSON.stringify(problem) });
      }
    });
  });
}

function lastSeen(header: string | undefined): number {
  if (header === undefined || header === '') return 0;
  if (/^\d{1,9}$/.test(header)) return Number(header);
  throw new ArmatureError('invalid_request', 'last-event-id: is no number of an event', {
    field: 'last-event-id',
    fix: 'Send the id of the last event, or leave it out.',
  });
}
