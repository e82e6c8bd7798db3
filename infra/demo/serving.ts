import type { ReasoningRecord } from '@armature/sdk/contract';
import type { Stage } from './jobs.ts';
import { quantile } from './latency.ts';
import { meteredUsage, total, type Received } from './metering.ts';
import { type DemoSummary } from './summary.ts';
import type { StreamResult } from './stream.ts';
import { reasoningSummary } from './outcome.ts';

/** Distinct reasoning lines that are shown. */
const SHOWN = 5;
/** Records asked for of each session. */
const RECORDS = 200;

/** What streams that ran beside each other came to. */
export function servingSummary(
  streams: readonly StreamResult[],
  horizon: number,
): DemoSummary['serve'] {
  const latencies = streams.flatMap((stream) => [...stream.latencies]);
  const chunks = streams.reduce((sum, stream) => sum + stream.received.chunks, 0);
  const seconds = Math.max(...streams.map((stream) => stream.seconds));
  return {
    chunks,
    chunks_per_s: chunks / seconds,
    actions_per_s: (chunks * horizon) / seconds,
    p50_ms: quantile(latencies, 0.5),
    p99_ms: quantile(latencies, 0.99),
    starved_ticks: streams.reduce((sum, stream) => sum + stream.starvedTicks, 0),
  };
}

/**
 * The API's own records of the sessions: usage, which must be what the robots received, and the
 * reasoning that drove it.
 */
export async function recordsOf(
  stage: Stage,
  streams: readonly StreamResult[],
): Promise<{ readonly usage: Received; readonly reasoning: DemoSummary['reasoning'] }> {
  const { client, screen, signal } = stage;
  const usages: Received[] = [];
  const records: ReasoningRecord[] = [];
  for (const { sessionId, received } of streams) {
    usages.push(await meteredUsage(stage, sessionId, received));
    const page = await client.reasoning.list({ session_id: sessionId, limit: RECORDS }, { signal });
    records.push(...page.items);
  }
  const usage = total(usages);
  screen.line(
    `metered: ${usage.actions} actions in ${usage.chunks} chunks, as the robots received`,
  );
  const texts = new Set(records.map((record) => record.text));
  for (const text of [...texts].slice(0, SHOWN)) screen.line(`“${text}”`);
  return { usage, reasoning: reasoningSummary(records) };
}
