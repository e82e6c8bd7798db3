import type { Finetune, JobEvent } from '../../contract/index.ts';
import { waitForFinetune, type Armature } from '../../src/index.ts';
import type { Context } from '../context.ts';
import { duration, note, show } from '../output.ts';
import { progress } from '../progress.ts';
import { describeFinetune } from './describe-finetune.ts';

export const ON_INTERRUPT = ['ask', 'cancel', 'leave'] as const;
/** What Ctrl-C does to the job that is watched. */
export type OnInterrupt = (typeof ON_INTERRUPT)[number];

/**
 * Follows a job until it ends. Ctrl-C does to the job what `onInterrupt` says, and ends the command.
 * @throws ArmatureError with the job's error, or `cancelled`.
 */
export async function watch(
  context: Context,
  client: Armature,
  id: string,
  onInterrupt: OnInterrupt,
): Promise<void> {
  const { output } = context;
  const bar = progress(output, 'finetune');
  const stop = new AbortController();
  const giveBack = context.onInterrupt(() => stop.abort());
  let metrics = '';
  try {
    const job = await waitForFinetune({
      client,
      id,
      signal: stop.signal,
      onEvent: (event) => {
        if (event.kind === 'metrics') metrics = metricsText(event);
        else if (event.kind !== 'progress') bar.log(eventText(event));
      },
      onUpdate: (update) => bar.update(update.progress, barText(update, metrics)),
    });
    bar.end();
    show(output, job, () => describeFinetune(job));
  } catch (error) {
    bar.end();
    if (stop.signal.aborted) await interrupted(context, client, id, onInterrupt);
    throw error;
  } finally {
    giveBack();
  }
}

async function interrupted(
  { output, ask }: Context,
  client: Armature,
  id: string,
  what: OnInterrupt,
): Promise<void> {
  const cancel =
    what === 'cancel' || (what === 'ask' && /^\s*y/i.test(await ask(`\nCancel ${id} too? [y/N] `)));
  if (!cancel) return note(output, `${id} goes on: armature finetune watch ${id}`);
  const job = await client.finetunes.cancel({ id });
  note(output, `${id} is ${job.status}`);
}

function barText(job: Finetune, metrics: string): string {
  return job.status === 'running' ? `running ${metrics}` : job.status;
}

function metricsText({ data }: JobEvent): string {
  const { step, steps, loss, samples_per_s, eta_s } = data;
  return [
    ...(step === undefined ? [] : [`step ${step}${steps === undefined ? '' : `/${steps}`}`]),
    ...(loss === undefined ? [] : [`loss ${loss.toFixed(4)}`]),
    ...(samples_per_s === undefined ? [] : [`${samples_per_s.toFixed(0)} samples/s`]),
    ...(eta_s === undefined ? [] : [`ETA ${duration(eta_s)}`]),
  ].join(', ');
}

function eventText(event: JobEvent): string {
  return `${event.at.slice(11, 19)} ${event.kind}: ${event.message}`;
}
