import type { Evaluation, ReasoningRecord } from '@armature/sdk/contract';
import type { ClosedLoop, StripFrame, Training } from './report/data.ts';
import type { DemoSummary } from './summary.ts';

/** What a way through the demo comes to: the figures, and what the report draws beside them. */
export interface Outcome {
  readonly title: string;
  readonly lead: string;
  readonly summary: DemoSummary;
  readonly trainings: readonly Training[];
  readonly evaluation: Evaluation | null;
  readonly strip: readonly StripFrame[];
  readonly latencies: readonly number[];
  readonly closedLoop: readonly ClosedLoop[];
}

/** Reasoning records as the summary has them, those that drove most chunks first. */
export function reasoningSummary(records: readonly ReasoningRecord[]): DemoSummary['reasoning'] {
  return records
    .map(({ id, text, source, chunks }) => ({ id, text, source, chunks }))
    .sort((one, other) => other.chunks - one.chunks);
}
