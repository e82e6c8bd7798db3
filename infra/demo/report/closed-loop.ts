import { barChart, type Bar } from './bars.ts';
import type { ClosedLoop, Rate, ReportData, SimulatedEpisode } from './data.ts';
import { html, type Markup } from './html.ts';
import { percent } from './numbers.ts';
import { image } from './serving.ts';

export function closedLoopSection({ closedLoop }: ReportData): Markup | null {
  if (closedLoop.length === 0) return null;
  return html`<section>
    <h2>In the simulator</h2>
    <p class="lead">
      Success is the tool within the object's radius of its centre, and the gripper closed there
      where the arm has one. Both arms are new to the base and are served by one worker in mixed
      batches.
    </p>
    <div class="cards">${closedLoop.map(embodimentCard)}${closedLoop.map(episodesCard)}</div>
  </section>`;
}

function embodimentCard(one: ClosedLoop): Markup {
  const bars = one.rates.map((rate) => bar(rate, rate.name.startsWith('before') ? 'm' : 'a'));
  const curve = one.curve.map(({ demos, rate }) =>
    bar({ ...rate, name: `${demos} demonstrations` }, 'd'),
  );
  return html`<div class="card">
    <figure>
      <h3>${one.embodiment}</h3>
      <figcaption>
        ${one.description}. ${one.n} episodes each; the line is the 95 % interval.
      </figcaption>
      ${barChart(`Success of ${one.embodiment}`, [...bars, ...curve], percent, 1)}
    </figure>
  </div>`;
}

function bar(rate: Rate, tone: Bar['tone']): Bar {
  return { name: rate.name, value: rate.rate, interval: rate.interval, tone };
}

function episodesCard(one: ClosedLoop): Markup | null {
  if (one.episodes.length === 0) return null;
  return html`<div class="card wide">
    <h3>${one.embodiment}: episodes after fine-tuning</h3>
    ${one.episodes.map(episode)}
  </div>`;
}

function episode({ instruction, success, frames }: SimulatedEpisode): Markup {
  const badge = success
    ? html`<span class="badge">reached</span>`
    : html`<span class="badge miss">missed</span>`;
  const pictures = frames.map(
    ({ step, picture, reasoning }) =>
      html`<figure>
        ${image(picture, `Step ${step}`)}
        <figcaption><time>${step}</time>${reasoning ?? ''}</figcaption>
      </figure>`,
  );
  return html`<div class="episode">
    <div>
      <p style="margin:0 0 6px">“${instruction}”</p>
      ${badge}
    </div>
    <div class="strip">${pictures}</div>
  </div>`;
}
