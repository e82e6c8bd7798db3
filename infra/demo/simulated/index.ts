import type { ClosedLoopResult } from '@armature/sim';
import type { Stage } from '../jobs.ts';
import type { DemoOptions } from '../options.ts';
import type { Outcome } from '../outcome.ts';
import { recordsOf, servingSummary } from '../serving.ts';
import type { DemoSummary } from '../summary.ts';
import { EPISODES, runTrial, type Trial } from './loops.ts';
import { closedLoopReport } from './report.ts';
import { arms, type Robot, teach, type TaughtRobot, trainPolicies } from './robots.ts';
import type { PortCount } from './served-policy.ts';
import { streamAll } from './streams.ts';

/** The results of every robot in one trial. */
type Results = readonly ClosedLoopResult[];

/** The demo without a data set: two arms that the base never saw, from nothing to closed loop. */
export async function runSimulated(
  stage: Stage,
  options: DemoOptions,
  folder: string,
): Promise<Outcome> {
  const { client, screen, signal } = stage;
  screen.heading('Two arms that the base never saw, fifty demonstrations each');
  const taught: TaughtRobot[] = [];
  for (const arm of arms) taught.push(await teach(stage, arm, folder));

  screen.heading('Fine-tuning');
  const robots: Robot[] = [];
  for (const robot of taught) {
    robots.push(
      await trainPolicies(stage, robot, { curve: options.curve, seconds: options.seconds }),
    );
  }
  for (const { after } of robots) {
    await client.policies.deploy({ id: after.policyVersionId }, { signal });
  }

  screen.heading('Closed loop, both arms served by one worker in mixed batches');
  const count: PortCount = { chunks: 0, actions: 0 };
  const started = performance.now();
  const run = (trial: Trial): Promise<Results> => runTrial(stage, robots, trial, count);
  const after = (robot: Robot) => robot.after;
  const results = {
    before: await run({ label: 'before', variant: 'normal', policy: (robot) => robot.before }),
    after: await run({ label: 'after', variant: 'normal', policy: after, pictured: true }),
    blank: await run({ label: 'pictures blanked', variant: 'blank', policy: after }),
    renamed: await run({ label: 'other object named', variant: 'renamed', policy: after }),
    byCommand: await run({
      label: 'relative to the last command',
      variant: 'normal',
      policy: (robot) => robot.byCommand,
    }),
  };
  const curve: { demos: number; results: Results }[] = [];
  for (const [place, { demos }] of (robots[0]?.curve ?? []).entries()) {
    const policy = (robot: Robot) => robot.curve[place]?.policy ?? robot.after;
    curve.push({
      demos,
      results: await run({ label: `${demos} demonstrations`, variant: 'normal', policy }),
    });
  }
  const seconds = (performance.now() - started) / 1000;
  screen.line(`${count.chunks} chunks, ${Math.round(count.chunks / seconds)} a second`);

  screen.heading('Both arms at their own rate');
  const streams = await streamAll(stage, robots);
  const records = await recordsOf(stage, streams);

  const closedLoop = robots.map((robot, index) => ({
    robot,
    before: at(results.before, index),
    after: at(results.after, index),
    blank: at(results.blank, index),
    renamed: at(results.renamed, index),
    byCommand: at(results.byCommand, index),
    curve: curve.map((one) => ({ demos: one.demos, result: at(one.results, index) })),
  }));
  return {
    title: 'Two simulated arms, fifty demonstrations each',
    lead: 'Recorded, uploaded, fine-tuned and served on this machine through the public interfaces; then both arms acted in the simulator.',
    summary: {
      ...trainingSummary(robots),
      serve: servingSummary(streams, horizonOf(robots)),
      ...records,
      closed_loop: closedLoop.map((one) => ({
        embodiment: one.robot.embodiment.name,
        before: one.before.rate,
        after: one.after.rate,
        blank: one.blank.rate,
        renamed: one.renamed.rate,
        n: EPISODES,
        after_last_command: one.byCommand.rate,
        ...(one.curve.length === 0
          ? {}
          : { curve: one.curve.map(({ demos, result }) => ({ demos, after: result.rate })) }),
      })),
    },
    trainings: robots.map((robot) => ({
      name: robot.embodiment.name,
      points: robot.after.points,
    })),
    evaluation: null,
    strip: [],
    latencies: streams.flatMap((stream) => [...stream.latencies]),
    closedLoop: await Promise.all(closedLoop.map(closedLoopReport)),
  };
}

/** Both sets and both fine-tunes taken together: sums, and means of the losses. */
function trainingSummary(
  robots: readonly Robot[],
): Pick<DemoSummary, 'dataset' | 'ingest' | 'train'> {
  const reports = robots.map((robot) => robot.data.report);
  const trains = robots.flatMap(({ after: { finetune } }) => finetune.train ?? []);
  const sum = (values: readonly number[]): number => values.reduce((all, one) => all + one, 0);
  const mean = (values: readonly number[]): number => sum(values) / values.length;
  const pictures = sum(reports.map(({ ingest }) => ingest.frames_per_s * ingest.seconds));
  const seconds = sum(trains.map((train) => train.seconds));
  return {
    dataset: {
      name: robots.map((robot) => robot.data.dataset.name).join(' and '),
      episodes: sum(reports.map((report) => report.episodes)),
      frames: sum(reports.map((report) => report.frames)),
    },
    ingest: {
      frames_per_s: pictures / sum(reports.map(({ ingest }) => ingest.seconds)),
      peak_rss_mb: Math.max(...reports.map(({ ingest }) => ingest.peak_rss_mb)),
    },
    train: {
      mode: 'head',
      steps: sum(trains.map((train) => train.steps)),
      samples_per_s: sum(trains.map((train) => train.samples_per_s * train.seconds)) / seconds,
      seconds,
      first_loss: mean(trains.map((train) => train.first_loss)),
      last_loss: mean(trains.map((train) => train.last_loss)),
    },
  };
}

function horizonOf([first]: readonly Robot[]): number {
  if (first === undefined) throw new RangeError('there is no robot');
  return first.embodiment.spec.horizon;
}

function at(results: Results, index: number): ClosedLoopResult {
  const result = results[index];
  if (result === undefined) throw new RangeError(`no result of robot ${index}`);
  return result;
}
