import { closedLoopSection } from './closed-loop.ts';
import type { ReportData } from './data.ts';
import { html, Markup, type Part } from './html.ts';
import { duration, error3, percent, short } from './numbers.ts';
import { predictionSection } from './prediction.ts';
import { servingSection } from './serving.ts';
import { style } from './style.ts';
import { trainingSection } from './training.ts';

/** Key figures at the top: one row of them. */
const MOST_TILES = 6;

/** The report as one page that asks for nothing from elsewhere. */
export function reportPage(data: ReportData): string {
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${data.title}</title>
        <style>
          ${new Markup(style)}
        </style>
      </head>
      <body>
        <main>
          <header>
            <p class="kicker">Armature · demonstrations to a served policy</p>
            <h1>${data.title}</h1>
            <p class="lead">${data.lead}</p>
            <div class="tiles">${tiles(data)}</div>
          </header>
          ${closedLoopSection(data)} ${predictionSection(data)} ${servingSection(data)}
          ${trainingSection(data)}
          <footer>
            <p><code>${data.command}</code></p>
            <p>${data.machine} · ${data.date}</p>
          </footer>
        </main>
      </body>
    </html> `;
  return page.text;
}

function tiles({ summary, closedLoop }: ReportData): Part {
  const { eval: evaluation, serve, train } = summary;
  const figures: (readonly [value: string, name: string])[] = [];
  for (const { embodiment, rates } of closedLoop) {
    const after = rates.find((rate) => rate.name.startsWith('after'));
    if (after !== undefined) figures.push([percent(after.rate), `${embodiment} succeeds`]);
  }
  if (evaluation !== undefined) {
    figures.push(
      [error3(evaluation.served.mse), 'held-out error as served'],
      [error3(evaluation.mean8.mse), 'mean of eight samples'],
      [error3(evaluation.hold.mse), 'holding the position'],
    );
  }
  figures.push(
    [duration(train.seconds), `training, ${train.steps} steps`],
    [`${short(serve.p50_ms)} ms`, 'median latency of a chunk'],
    [short(serve.actions_per_s), 'actions a second'],
  );
  return figures
    .slice(0, MOST_TILES)
    .map(([value, name]) => html`<div class="tile"><b>${value}</b><span>${name}</span></div>`);
}
