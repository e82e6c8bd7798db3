import type { RecordedStep } from './recorder.ts';

/** A reasoning and the steps that it drove. */
export interface ReasoningSpan {
  /** First step, counted from 0. */
  readonly from: number;
  /** Step after the last. */
  readonly to: number;
  readonly id: string;
  readonly text: string;
}

/** The reasonings of a recording in the order in which they drove it; steps without one are left out. */
export function reasoningSpans(steps: readonly RecordedStep[]): ReasoningSpan[] {
  const spans: ReasoningSpan[] = [];
  steps.forEach(({ reasoning }, i) => {
    if (reasoning === null) return;
    const last = spans.at(-1);
    if (last?.id === reasoning.id && last.to === i) {
      spans[spans.length - 1] = { ...last, to: i + 1 };
    } else {
      spans.push({ from: i, to: i + 1, id: reasoning.id, text: reasoning.text ?? '' });
    }
  });
  return spans;
}
