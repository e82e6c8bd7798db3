import { scaleLinear, scaleLog } from 'd3-scale';
import { html, type Markup } from './html.ts';
import { short } from './numbers.ts';

/** Colour of a series, by the classes of the style sheet. */
export type Tone = 'a' | 'b' | 'c' | 'd' | 'm';

export interface Size {
  readonly width: number;
  readonly height: number;
  readonly margin: {
    readonly top: number;
    readonly right: number;
    readonly bottom: number;
    readonly left: number;
  };
}

export const standard: Size = {
  width: 520,
  height: 250,
  margin: { top: 12, right: 16, bottom: 36, left: 48 },
};

/** A chart as wide as the page. */
export const wide: Size = { ...standard, width: 1080, height: 300 };

export interface Scale {
  (value: number): number;
  ticks(count: number): number[];
}

/** A scale of the values onto the plot's width or height, in round numbers. */
export function scaleOf(
  values: Iterable<number>,
  range: readonly [number, number],
  kind: 'linear' | 'from-zero' | 'log' = 'linear',
): Scale {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (!Number.isFinite(value) || (kind === 'log' && value <= 0)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) [low, high] = kind === 'log' ? [0.1, 1] : [0, 1];
  if (kind === 'from-zero') low = Math.min(0, low);
  if (low === high) [low, high] = kind === 'log' ? [low / 2, high * 2] : [low - 0.5, high + 0.5];
  if (kind !== 'log') return scaleLinear().domain([low, high]).range(range).nice();
  const log = scaleLog().domain([low, high]).range(range).nice();
  const leading = Math.log10(high / low) > 2 ? ['1'] : ['1', '2', '5'];
  return Object.assign((value: number) => log(value), {
    ticks: () => log.ticks().filter((tick) => leading.includes(tick.toExponential().charAt(0))),
  });
}

export interface Axes {
  readonly x: Scale;
  readonly y: Scale;
  readonly xLabel: string;
  readonly yLabel: string;
  /** Ticks along x, where the scale's own do not fit. */
  readonly xTicks?: readonly number[];
}

/** The drawing with its grid, ticks and axis names behind `content`. */
export function chart(size: Size, title: string, axes: Axes, content: readonly Markup[]): Markup {
  const { width, height, margin } = size;
  const bottom = height - margin.bottom;
  const rows = axes.y.ticks(5).map((tick) => {
    const at = fixed(axes.y(tick));
    return html`<line
        class="grid"
        x1="${margin.left}"
        x2="${width - margin.right}"
        y1="${at}"
        y2="${at}"
      /><text x="${margin.left - 8}" y="${at}" dy=".32em" text-anchor="end">${short(tick)}</text>`;
  });
  const columns = (axes.xTicks ?? axes.x.ticks(6)).map((tick) => {
    const at = fixed(axes.x(tick));
    return html`<text x="${at}" y="${bottom + 16}" text-anchor="middle">${short(tick)}</text>`;
  });
  return html`<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}">
    <title>${title}</title>
    ${rows}${columns}
    <line
      class="axis"
      x1="${margin.left}"
      x2="${width - margin.right}"
      y1="${bottom}"
      y2="${bottom}"
    />
    <text x="${width - margin.right}" y="${height - 4}" text-anchor="end">${axes.xLabel}</text>
    <text x="0" y="${margin.top - 2}">${axes.yLabel}</text>
    ${content}
  </svg>`;
}

/** A coordinate in the page: two decimals are plenty. */
export function fixed(value: number): string {
  return Number(value.toFixed(2)).toString();
}

export function legend(entries: readonly { readonly name: string; readonly tone: Tone }[]): Markup {
  return html`<ul class="legend">
    ${entries.map(({ name, tone }) => html`<li class="${tone}">${name}</li>`)}
  </ul>`;
}
