import { bin } from 'd3-array';
import { chart, fixed, scaleOf, standard, type Tone } from './chart.ts';
import { html, type Markup } from './html.ts';
import { short } from './numbers.ts';

export interface Bar {
  readonly name: string;
  readonly value: number;
  readonly tone: Tone;
  /** Ends of an interval around the value. */
  readonly interval?: readonly [number, number];
}

/** Horizontal bars from zero, each with its value; longest names decide the left margin. */
export function barChart(
  title: string,
  bars: readonly Bar[],
  write: (value: number) => string,
  most?: number,
): Markup {
  const width = 520;
  const row = 28;
  const left = 12 + 6.6 * Math.max(...bars.map((bar) => bar.name.length));
  const right = 64;
  const x = scaleOf(
    [0, most ?? 0, ...bars.flatMap((bar) => [bar.value, ...(bar.interval ?? [])])],
    [left, width - right],
    'from-zero',
  );
  const height = bars.length * row + 6;
  const rows = bars.map(({ name, value, tone, interval }, index) => {
    const middle = index * row + row / 2;
    const end = Math.max(x(value), ...(interval === undefined ? [] : [x(interval[1])]));
    const whisker =
      interval === undefined
        ? null
        : html`<line
            class="whisker"
            style="stroke:var(--ink);opacity:.55"
            x1="${fixed(x(interval[0]))}"
            x2="${fixed(x(interval[1]))}"
            y1="${middle}"
            y2="${middle}"
          />`;
    return html`<g class="${tone}"
      ><text x="${fixed(left - 8)}" y="${middle}" dy=".32em" text-anchor="end">${name}</text
      ><rect
        class="fill"
        x="${fixed(left)}"
        y="${middle - 8}"
        width="${fixed(Math.max(1, x(value) - left))}"
        height="16"
        rx="3"
      />${whisker}<text class="value" x="${fixed(end + 8)}" y="${middle}" dy=".32em"
        >${write(value)}</text
      ></g
    >`;
  });
  return html`<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}">
    <title>${title}</title>
    ${rows}
  </svg>`;
}

export interface Mark {
  readonly name: string;
  readonly value: number;
  readonly tone: Tone;
}

/** How often each value occurs, with named marks, e.g. a median, over it. */
export function histogram(options: {
  readonly title: string;
  readonly values: readonly number[];
  readonly xLabel: string;
  readonly marks: readonly Mark[];
}): Markup {
  const { title, values, xLabel, marks } = options;
  const size = standard;
  const { margin } = size;
  // The last per mille lies far out and would press the rest together; it joins the last column.
  const sorted = [...values].sort((one, other) => one - other);
  const farthest = sorted[Math.floor((sorted.length - 1) * 0.999)] ?? 1;
  const low = sorted[0] ?? 0;
  const clamped = values.map((value) => Math.min(value, farthest));
  const bins = bin().domain([low, farthest]).thresholds(40)(clamped);
  const x = scaleOf([low, farthest], [margin.left, size.width - margin.right]);
  const y = scaleOf(
    bins.map((one) => one.length),
    [size.height - margin.bottom, margin.top + 14],
    'from-zero',
  );
  const columns = bins.map((one) => {
    const from = x(one.x0 ?? low);
    const to = x(one.x1 ?? farthest);
    return html`<rect
      class="fill a"
      x="${fixed(from + 0.5)}"
      y="${fixed(y(one.length))}"
      width="${fixed(Math.max(1, to - from - 1))}"
      height="${fixed(y(0) - y(one.length))}"
      rx="1.5"
    />`;
  });
  const lines = marks.map(({ name, value, tone }) => {
    const at = fixed(x(Math.min(value, farthest)));
    const isLate = x(Math.min(value, farthest)) > size.width * 0.7;
    return html`<g class="${tone}"
      ><line
        class="line thin"
        stroke-dasharray="4 3"
        x1="${at}"
        x2="${at}"
        y1="${margin.top}"
        y2="${size.height - margin.bottom}"
      /><text
        class="tone"
        x="${at}"
        dx="${isLate ? -5 : 5}"
        y="${margin.top + 6}"
        text-anchor="${isLate ? 'end' : 'start'}"
        >${name} ${short(value)}</text
      ></g
    >`;
  });
  return chart(size, title, { x, y, xLabel, yLabel: '' }, [...columns, ...lines]);
}
