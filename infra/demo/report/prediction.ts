import type { Evaluation } from '@armature/sdk/contract';
import { barChart, type Bar } from './bars.ts';
import { type Size } from './chart.ts';
import type { ReportData } from './data.ts';
import { html, type Markup } from './html.ts';
import { error3 } from './numbers.ts';
import { lineChart, type Point } from './lines.ts';

const SMALL: Size = {
  width: 260,
  height: 110,
  margin: { top: 8, right: 4, bottom: 20, left: 34 },
};
/** Joints shown before the rest is folded away, when the moving ones are not known. */
const SHOWN = 12;

type Row = readonly [name: string, mse: number, l1: number, isOurs: boolean];

export function predictionSection(data: ReportData): Markup | null {
  const { evaluation } = data;
  if (evaluation === null) return null;
  return html`<section>
    <h2>Against what was held out</h2>
    <p class="lead">
      Every chunk of ${evaluation.episodes.length} episodes that training never saw,
      ${evaluation.chunks} in all, steps past the end masked, normalised by the training set's true
      statistics. Actions relative to: ${evaluation.reference.replaceAll('_', ' ')}.
    </p>
    <div class="cards">
      <div class="card">
        <figure>
          <h3>Squared error by predictor</h3>
          <figcaption>
            Lower is better. The line across the mean of eight is its 95 % interval over episodes.
          </figcaption>
          ${barChart('Squared error by predictor', predictorBars(data, evaluation), error3)}
        </figure>
      </div>
      <div class="card">
        <figure>
          <h3>Error by step of the chunk</h3>
          <figcaption>
            Squared error of the chunk as served, from its first action to its last.
          </figcaption>
          ${lineChart({
            title: 'Squared error by step of the chunk',
            xLabel: 'step',
            yLabel: '',
            series: [
              {
                name: 'served',
                tone: 'a',
                points: evaluation.served_mse_by_step.map((mse, step): Point => [step + 1, mse]),
              },
            ],
          })}
        </figure>
      </div>
      <div class="card wide">
        <h3>All figures</h3>
        ${scoreTable(data, evaluation)}
      </div>
      <div class="card">
        <h3>By episode</h3>
        ${episodeTable(evaluation)}
      </div>
      ${picturesCard(evaluation)}
      <div class="card wide">${traceFigure(evaluation)}</div>
    </div>
  </section>`;
}

function predictorBars(data: ReportData, evaluation: Evaluation): Bar[] {
  const { served, mean8, sample, hold, hold_command: holdCommand, ridge, blank8 } = evaluation;
  const noimage = data.summary.eval?.noimage8;
  return [
    { name: `as served (${served.steps} steps)`, value: served.mse, tone: 'a' },
    {
      name: 'mean of eight samples',
      value: mean8.mse,
      tone: 'a',
      interval: evaluation.ci95.mean8_mse,
    },
    { name: 'one sample', value: sample.mse, tone: 'a' },
    { name: 'pictures blanked', value: blank8.mse, tone: 'b' },
    ...(noimage === undefined
      ? []
      : [{ name: 'trained without pictures', value: noimage.mse, tone: 'b' as const }]),
    { name: 'ridge regression', value: ridge.mse, tone: 'm' },
    { name: 'holding the position', value: hold.mse, tone: 'm' },
    { name: 'holding the last command', value: holdCommand.mse, tone: 'm' },
  ];
}

function scoreTable(data: ReportData, evaluation: Evaluation): Markup {
  const rows = (scores: Omit<Evaluation, 'moving'> | NonNullable<Evaluation['moving']>): Row[] => [
    [
      `As served: ${scores.served.steps} steps, noise ${scores.served.noise_scale}`,
      scores.served.mse,
      scores.served.l1,
      true,
    ],
    ['Mean of eight samples', scores.mean8.mse, scores.mean8.l1, true],
    ['One sample', scores.sample.mse, scores.sample.l1, true],
    ['Mean of eight, pictures blanked', scores.blank8.mse, scores.blank8.l1, false],
    ['Ridge regression from the state', scores.ridge.mse, scores.ridge.l1, false],
    ['Current position held', scores.hold.mse, scores.hold.l1, false],
    ['Last command held', scores.hold_command.mse, scores.hold_command.l1, false],
    ["Training set's mean action", scores.mean.mse, scores.mean.l1, false],
  ];
  const { moving } = evaluation;
  const movingRows = moving === null ? [] : rows(moving);
  const noimage = data.summary.eval?.noimage8;
  const cells = (mse: number, l1: number): Markup =>
    html`<td>${error3(mse)}</td>
      <td>${error3(l1)}</td>`;
  const body = rows(evaluation).map(([name, mse, l1, isOurs], index) => {
    const other = movingRows[index];
    return html`<tr class="${isOurs ? 'ours' : ''}">
      <td>${name}</td>
      ${cells(mse, l1)}${other === undefined ? null : cells(other[1], other[2])}
    </tr>`;
  });
  const extra =
    noimage === undefined
      ? null
      : html`<tr>
          <td>Mean of eight, trained without pictures</td>
          ${cells(noimage.mse, noimage.l1)}${
            moving === null
              ? null
              : html`<td></td>
                  <td></td>`
          }
        </tr>`;
  return html`<div class="table">
      <table>
        <thead>
          <tr>
            <th></th>
            <th>squared, all</th>
            <th>absolute, all</th>
            ${
              moving === null
                ? null
                : html`<th>squared, moving</th>
                    <th>absolute, moving</th>`
            }
          </tr>
        </thead>
        <tbody>
          ${body}${extra}
        </tbody>
      </table>
    </div>
    ${moving === null ? null : html`<p class="note" style="margin-top:10px">Moving: ${moving.dimensions.join(', ')}.</p>`}`;
}

function episodeTable(evaluation: Evaluation): Markup {
  const body = evaluation.episodes.map(
    (one) =>
      html`<tr>
        <td>${one.index}</td>
        <td>${one.chunks}</td>
        <td>${error3(one.mean8_mse)}</td>
        <td>${error3(one.served_mse)}</td>
        <td>${error3(one.hold_mse)}</td>
      </tr>`,
  );
  return html`<div class="table">
    <table>
      <thead>
        <tr>
          <th>episode</th>
          <th>chunks</th>
          <th>mean of eight</th>
          <th>served</th>
          <th>held position</th>
        </tr>
      </thead>
      <tbody>
        ${body}
      </tbody>
    </table>
  </div>`;
}

function picturesCard(evaluation: Evaluation): Markup {
  const [low, high] = evaluation.ci95.blank8_minus_mean8_mse;
  const difference = evaluation.blank8.mse - evaluation.mean8.mse;
  const verdict =
    low > 0
      ? 'the pictures carry part of the answer.'
      : high < 0
        ? 'the pictures mislead it.'
        : 'over these few episodes that can not be told from nothing.';
  return html`<div class="card">
    <h3>What the pictures are worth</h3>
    <p>
      With its pictures blanked the same policy's squared error changes by
      <b>${signed(difference)}</b> (95 % interval over episodes ${signed(low)} to ${signed(high)}):
      ${verdict}
    </p>
  </div>`;
}

function traceFigure(evaluation: Evaluation): Markup {
  const { trace, moving } = evaluation;
  const first = new Set(moving?.dimensions ?? trace.names.slice(0, SHOWN));
  const plots = trace.names.map((name, joint) => ({
    name,
    isFirst: first.has(name),
    plot: html`<div>
      <h4>${name}</h4>
      ${lineChart({
        title: `${name}: predicted and recorded`,
        xLabel: '',
        yLabel: '',
        yScale: 'linear',
        size: SMALL,
        legend: false,
        series: [
          { name: 'recorded', tone: 'm', points: pointsOf(trace.recorded[joint]) },
          { name: 'predicted', tone: 'a', points: pointsOf(trace.predicted[joint]), thin: true },
        ],
      })}
    </div>`,
  }));
  const rest = plots.filter((one) => !one.isFirst);
  return html`<figure>
    <h3>Predicted against recorded joints</h3>
    <figcaption>Episode ${trace.episode}, chunk after chunk.</figcaption>
    <ul class="legend">
      <li class="m">recorded</li>
      <li class="a">predicted</li>
    </ul>
    <div class="multiples">${plots.filter((one) => one.isFirst).map((one) => one.plot)}</div>
    ${
      rest.length === 0
        ? null
        : html`<details>
            <summary>${rest.length} more joints</summary>
            <div class="multiples">${rest.map((one) => one.plot)}</div>
          </details>`
    }
  </figure>`;
}

function pointsOf(series: readonly number[] | undefined): Point[] {
  if (series === undefined) throw new RangeError('a joint of the trace has no series');
  return series.map((value, step): Point => [step, value]);
}

function signed(value: number): string {
  return `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(3)}`;
}
