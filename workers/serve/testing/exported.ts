/**
 * What a worker exports of these metrics: its series that are not 0, by how they are written
 * (`name{label="value"}`), to a millionth. Of a histogram its count and sum.
 */
export async function exported(
  port: number,
  of: (metric: string) => boolean = () => true,
): Promise<Record<string, number>> {
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
  if (!answer.ok) throw new Error(`the metrics are not told: ${answer.status}`);
  const series = (await answer.text()).split('\n').flatMap((line) => {
    const [, name = '', value] = /^([a-z].*) (\S+)$/.exec(line) ?? [];
    const rounded = Math.round(Number(value) * 1e6) / 1e6;
    const isTold = value !== undefined && rounded !== 0 && !/_bucket\{/.test(name);
    return isTold && of(metricOf(name)) ? [[name, rounded] as const] : [];
  });
  return Object.fromEntries(series);
}

/** Name of the metric that a series is of. */
export function metricOf(series: string): string {
  return series.replace(/\{.*$/, '').replace(/_(count|sum)$/, '');
}
