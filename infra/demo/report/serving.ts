import { histogram } from './bars.ts';
import type { Picture, ReportData } from './data.ts';
import { html, type Markup, type Part } from './html.ts';
import { short } from './numbers.ts';

/** Reasoning lines that are quoted. */
const QUOTED = 6;

export function servingSection(data: ReportData): Markup {
  const { summary, strip, latencies } = data;
  const { serve, usage, reasoning } = summary;
  return html`<section>
    <h2>While it served</h2>
    <p class="lead">
      ${serve.chunks} chunks came back over the robot's socket, ${short(serve.chunks_per_s)} a
      second, with ${serve.starved_ticks} starved ticks. Metered: ${usage.actions} actions in
      ${usage.chunks} chunks.
    </p>
    <div class="cards">
      ${
        strip.length === 0
          ? null
          : html`<div class="card wide">
              <h3>What it saw and what it said</h3>
              <p class="note">
                The reasoning under each frame drove the chunk that was executed at that moment.
              </p>
              <div class="strip">
                ${strip.map(
                  (frame) =>
                    html`<figure>
                      ${image(frame.picture, `Camera at ${frame.at_s.toFixed(1)} s`)}
                      <figcaption>
                        <time>${frame.at_s.toFixed(1)} s</time
                        >${frame.reasoning ?? 'no reasoning yet'}
                      </figcaption>
                    </figure>`,
                )}
              </div>
            </div>`
      }
      <div class="card">
        <figure>
          <h3>Latency</h3>
          <figcaption>From sending an observation to holding its chunk, over loopback.</figcaption>
          ${histogram({
            title: 'Latency of a chunk in milliseconds',
            values: latencies,
            xLabel: 'ms',
            marks: [
              { name: 'p50', value: serve.p50_ms, tone: 'b' },
              { name: 'p99', value: serve.p99_ms, tone: 'c' },
            ],
          })}
        </figure>
      </div>
      <div class="card">
        <h3>Reasoning records</h3>
        <p class="note">As the API keeps them, with the chunks that each drove.</p>
        ${quotes(reasoning)}
      </div>
    </div>
  </section>`;
}

function quotes(reasoning: ReportData['summary']['reasoning']): Part {
  const longest = [...reasoning].sort((one, other) => other.chunks - one.chunks);
  const texts = new Map<string, { source: string; chunks: number }>();
  for (const { text, source, chunks } of longest) {
    const known = texts.get(text);
    texts.set(text, { source, chunks: chunks + (known?.chunks ?? 0) });
  }
  return [...texts]
    .slice(0, QUOTED)
    .map(
      ([text, { source, chunks }]) =>
        html`<blockquote>
          ${text}<small>${chunks} ${chunks === 1 ? 'chunk' : 'chunks'} · ${source}</small>
        </blockquote>`,
    );
}

/** A picture that the page carries itself. */
export function image(picture: Picture, alt: string): Markup {
  const source = `data:${picture.type};base64,${Buffer.from(picture.bytes).toString('base64')}`;
  return html`<img src="${source}" alt="${alt}" />`;
}
