import { WINDOW_MS } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';

/** How far back usage is read when `from` is absent. */
const DEFAULT_PERIOD_MS = 30 * 24 * 3600 * 1000;
/**
 * A period in whole windows: `from` inclusive, `to` exclusive, and open where it was not given.
 * @throws ArmatureError `invalid_request` for one that ends before it begins.
 */
export function usagePeriod(
  input: { from?: string | undefined; to?: string | undefined },
  now: Date,
): { from: Date; to: Date; open: boolean } {
  const whole = (ms: number, round: (windows: number) => number) =>
    new Date(round(ms / WINDOW_MS) * WINDOW_MS);
  const until = input.to === undefined ? now.getTime() : Date.parse(input.to);
  const since = input.from === undefined ? until - DEFAULT_PERIOD_MS : Date.parse(input.from);
  if (since >= until) {
    throw new ArmatureError('invalid_request', 'from: does not lie before to', {
      field: 'from',
      fix: 'Give an earlier from.',
    });
  }
  return {
    from: whole(since, Math.floor),
    to: whole(until, Math.ceil),
    open: input.to === undefined,
  };
}
