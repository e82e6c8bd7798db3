import type { Evaluation } from '@armature/sdk/contract';
import { duration, error3, percent, short } from './report/numbers.ts';
import type { ClosedLoop } from './report/data.ts';
import type { Screen } from './screen.ts';
import type { DemoSummary } from './summary.ts';

type Row = readonly string[];

/** The demo's tables: held-out errors or closed-loop success, then training, serving and usage. */
export function printTables(
  screen: Screen,
  summary: DemoSummary,
  evaluation: Evaluation | null,
  closedLoop: readonly ClosedLoop[],
): void {
  if (evaluation !== null) {
    screen.table(
      ['held-out error', 'squared', 'absolute', ...movingHead(evaluation)],
      [...scoreRows(summary, evaluation)],
    );
    screen.table(
      ['episode', 'chunks', 'mean of eight', 'served', 'position held'],
      evaluation.episodes.map((one) => [
        String(one.index),
        String(one.chunks),
        error3(one.mean8_mse),
        error3(one.served_mse),
        error3(one.hold_mse),
      ]),
    );
  }
  if (closedLoop.length > 0) screen.table(...successTable(closedLoop));
  screen.table(['measured', 'value'], figures(summary, evaluation));
}

function movingHead({ moving }: Evaluation): string[] {
  return moving === null ? [] : ['squared, moving', 'absolute, moving'];
}

function scoreRows(summary: DemoSummary, evaluation: Evaluation): Row[] {
  const { moving, served } = evaluation;
  const row = (
    name: string,
    key: 'sample' | 'mean8' | 'served' | 'hold' | 'hold_command' | 'mean' | 'ridge' | 'blank8',
  ): Row => [
    name,
    error3(evaluation[key].mse),
    error3(evaluation[key].l1),
    ...(moving === null ? [] : [error3(moving[key].mse), error3(moving[key].l1)]),
  ];
  const noimage = summary.eval?.noimage8;
  return [
    row(`as served (${served.steps} steps, noise ${served.noise_scale})`, 'served'),
    row('mean of eight samples', 'mean8'),
    row('one sample', 'sample'),
    row('mean of eight, pictures blanked', 'blank8'),
    ...(noimage === undefined
      ? []
      : [
          [
            'mean of eight, trained without pictures',
            error3(noimage.mse),
            error3(noimage.l1),
            ...(moving === null ? [] : ['', '']),
          ],
        ]),
    row('position held', 'hold'),
    row('last command held', 'hold_command'),
    row("training set's mean", 'mean'),
    row('ridge regression', 'ridge'),
  ];
}

function successTable(closedLoop: readonly ClosedLoop[]): [Row, Row[]] {
  const head = ['success (95 % interval)', ...closedLoop.map((one) => one.embodiment)];
  const names = closedLoop[0]?.rates.map((rate) => rate.name) ?? [];
  const demos = closedLoop[0]?.curve.map((one) => one.demos) ?? [];
  const cell = (rate: ClosedLoop['rates'][number] | undefined): string => {
    if (rate === undefined) return '';
    const [low, high] = rate.interval;
    return `${percent(rate.rate)} (${percent(low)} to ${percent(high)})`;
  };
  return [
    head,
    [
      ...names.map((name, place) => [name, ...closedLoop.map((one) => cell(one.rates[place]))]),
      ...demos.map((count, place) => [
        `after ${count} demonstrations`,
        ...closedLoop.map((one) => cell(one.curve[place]?.rate)),
      ]),
    ],
  ];
}

function figures(summary: DemoSummary, evaluation: Evaluation | null): Row[] {
  const { dataset, ingest, train, serve, usage } = summary;
  return [
    ['data', `${dataset.episodes} episodes, ${dataset.frames} frames`],
    ['ingest', `${short(ingest.frames_per_s)} frames/s, peak ${short(ingest.peak_rss_mb)} MB`],
    ['training', `${train.steps} steps in ${duration(train.seconds)} (mode ${train.mode})`],
    ['training rate', `${short(train.samples_per_s)} samples/s`],
    ['loss', `${short(train.first_loss)} → ${short(train.last_loss)}`],
    ...intervals(evaluation),
    ['served', `${serve.chunks} chunks, ${short(serve.chunks_per_s)} chunks/s`],
    ['actions', `${short(serve.actions_per_s)} actions/s`],
    ['latency', `p50 ${short(serve.p50_ms)} ms, p99 ${short(serve.p99_ms)} ms`],
    ['starved ticks', String(serve.starved_ticks)],
    ['metered', `${usage.actions} actions in ${usage.chunks} chunks`],
  ];
}

function intervals(evaluation: Evaluation | null): Row[] {
  if (evaluation === null) return [];
  const { mean8_mse: mean8, blank8_minus_mean8_mse: worth } = evaluation.ci95;
  return [
    ['mean of eight, 95 %', `${error3(mean8[0])} to ${error3(mean8[1])}`],
    ['pictures are worth, 95 %', `${error3(worth[0])} to ${error3(worth[1])}`],
  ];
}
