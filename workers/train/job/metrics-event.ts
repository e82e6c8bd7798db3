import type { NewJobEvent } from '@armature/db';
import type { Metrics } from './meter.ts';

/** Live figures as an event of the job. */
export function metricsEvent(metrics: Metrics): NewJobEvent {
  const { step, steps, loss, samplesPerS, etaS } = metrics;
  return {
    kind: 'metrics',
    message: `step ${step} of ${steps}, loss ${loss.toPrecision(4)}, ${Math.round(samplesPerS)} samples/s, ${duration(etaS)} left`,
    data: {
      step,
      steps,
      loss,
      action_loss: metrics.actionLoss,
      reasoning_loss: metrics.reasoningLoss,
      samples_per_s: samplesPerS,
      eta_s: etaS,
    },
  };
}

function duration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  return minutes < 60
    ? `${minutes} min ${whole % 60} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
