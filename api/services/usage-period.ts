import { WINDOW_MS } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';

/** How far back usage is read when `from` is absent. */
const DEFAULT_PERIOD_MS = 30 * 24 * 3600 * 1000;
/** Instants that the database and the contract can tell, with the windows that they lie in. */
const [FIRST_MS, END_MS] = [0, Date.UTC(9999, 0)];

/**
 * A period in whole windows: `from` inclusive, `to` exclusive, and open where it was not given.
 * @throws ArmatureError `invalid_request` for one that ends before it begins, or lies in no year of ours.
 */
export function usagePeriod(
  input: { from?: string | undefined; to?: string | undefined },
  now: Date,
): { from: Date; to: Date; open: boolean } {
  const whole = (ms: number, round: (windows: number) => number) =>
    new Date(round(ms / WINDOW_MS) * WINDOW_MS);
  const until = input.to === undefined ? now.getTime() : Date.parse(input.to);
  const since = input.from === undefined ? until - DEFAULT_PERIOD_MS : Date.parse(input.from);
  for (const [field, at] of [
    ['to', until],
    ['from', since],
  ] as const) {
    if (at >= FIRST_MS && at < END_MS) continue;
    throw new ArmatureError('invalid_request', `${field}: lies outside of the years 1970 to 9998`, {
      field,
      fix: `Give a ${field} within them, or none.`,
    });
  }
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
