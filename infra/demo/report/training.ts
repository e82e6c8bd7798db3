import { standard, wide } from './chart.ts';
import { html, type Markup } from './html.ts';
import { duration, short } from './numbers.ts';
import { lineChart } from './lines.ts';
import type { ReportData, Training } from './data.ts';

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
      ${trainings.map((training) => lossCards(training, trainings.length > 1))}
    </div>
  </section>`;
}

function lossCards(training: Training, isOneOfMany: boolean): Markup {
  const { name, points } = training;
  const title = isOneOfMany ? name : 'Loss by training step';
  return html`<div class="card">
    <figure>
      <h3>${title}</h3>
      <figcaption>Logarithmic; each point the mean of its neighbours.</figcaption>
      ${lineChart({
        title,
        xLabel: 'step',
        yLabel: '',
        yScale: 'log',
        size: isOneOfMany ? standard : wide,
        series: [
          {
            name: 'action (diffusion)',
            tone: 'a',
            points: points.map((p) => [p.step, p.action_loss]),
          },
          {
            name: 'reasoning (cross-entropy)',
            tone: 'b',
            points: points.map((p) => [p.step, p.reasoning_loss]),
          },
        ],
      })}
    </figure>
  </div>`;
}
