import { standard, wide } from './chart.ts';
import type { ReportData, Training } from './data.ts';
import { html, type Markup } from './html.ts';
import { lineChart, type Point } from './lines.ts';
import { duration, short } from './numbers.ts';

export function trainingSection({ trainings, summary }: ReportData): Markup {
  const { train, ingest, dataset } = summary;
  return html`<section>
    <h2>Training</h2>
    <p class="lead">
      ${dataset.episodes} demonstrations, ${dataset.frames} frames, checked at
      ${short(ingest.frames_per_s)} frames/s. ${train.steps} steps in mode
      <code>${train.mode}</code> took ${duration(train.seconds)} at ${short(train.samples_per_s)}
      samples/s; the loss went from ${short(train.first_loss)} to ${short(train.last_loss)}.
    </p>
    <div class="cards">
      ${trainings.map((training) => lossCard(training, trainings.length > 1))}
    </div>
  </section>`;
}

function lossCard(training: Training, isOneOfMany: boolean): Markup {
  const title = isOneOfMany ? training.name : 'Loss by training step';
  const drawing = lineChart({
    title,
    xLabel: 'step',
    yLabel: '',
    yScale: 'log',
    size: isOneOfMany ? standard : wide,
    series: [
      { name: 'action (diffusion)', tone: 'a', points: part(training, 'action_loss') },
      { name: 'reasoning (cross-entropy)', tone: 'b', points: part(training, 'reasoning_loss') },
    ],
  });
  return html`<div class="card${isOneOfMany ? '' : ' wide'}">
    <figure>
      <h3>${title}</h3>
      <figcaption>Logarithmic; each point the mean of its neighbours.</figcaption>
      ${drawing}
    </figure>
  </div>`;
}

function part({ points }: Training, loss: 'action_loss' | 'reasoning_loss'): Point[] {
  return points.flatMap((point): Point[] => {
    const value = point[loss];
    return value === null ? [] : [[point.step, value]];
  });
}
