import { line } from 'd3-shape';
import { chart, fixed, legend, scaleOf, type Size, standard, type Tone } from './chart.ts';
import { html, type Markup } from './html.ts';

export type Point = readonly [x: number, y: number];

export interface Series {
  readonly name: string;
  readonly tone: Tone;
  readonly points: readonly Point[];
  readonly thin?: boolean;
}

export interface LineChart {
  readonly title: string;
  readonly series: readonly Series[];
  readonly xLabel: string;
  readonly yLabel: string;
  readonly yScale?: 'linear' | 'from-zero' | 'log';
  readonly size?: Size;
  /** False where a legend for several charts stands elsewhere. */
  readonly legend?: boolean;
}

/** Most points of a line that a reader can tell apart at this width. */
const MOST_POINTS = 400;

/** Lines over a common x axis; a long series is thinned to the means of its neighbours. */
export function lineChart(options: LineChart): Markup {
  const size = options.size ?? standard;
  const series = options.series.map((one) => ({ ...one, points: thin(one.points, MOST_POINTS) }));
  const points = series.flatMap((one) => one.points);
  const { margin } = size;
  const x = scaleOf(
    points.map(([value]) => value),
    [margin.left, size.width - margin.right],
  );
  const y = scaleOf(
    points.map(([, value]) => value),
    [size.height - margin.bottom, margin.top],
    options.yScale ?? 'from-zero',
  );
  const path = line<Point>()
    .x(([value]) => Number(fixed(x(value))))
    .y(([, value]) => Number(fixed(y(value))))
    .defined(([, value]) => Number.isFinite(value) && (options.yScale !== 'log' || value > 0));
  const lines = series.map(
    ({ points: own, tone, thin: isThin }) =>
      html`<path class="line ${tone}${isThin === true ? ' thin' : ''}" d="${path(own) ?? ''}" />`,
  );
  const { title, xLabel, yLabel } = options;
  return html`${series.length > 1 && options.legend !== false ? legend(series) : null}${chart(size, title, { x, y, xLabel, yLabel }, lines)}`;
}

/** At most `most` points, each the mean of a run of the given ones. */
export function thin(points: readonly Point[], most: number): readonly Point[] {
  if (points.length <= most) return points;
  const run = points.length / most;
  return Array.from({ length: most }, (_, index) => {
    const own = points.slice(Math.floor(index * run), Math.floor((index + 1) * run));
    const mean = (pick: 0 | 1): number =>
      own.reduce((sum, point) => sum + point[pick], 0) / own.length;
    return [mean(0), mean(1)] as const;
  });
}
