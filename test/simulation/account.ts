import type { UsageEntry } from '../../workers/serve/ledger/entry.ts';
import type { SimRobot } from './robot.ts';
import { simSpec } from './worker.ts';

/** What became of a chunk that was metered, the first that is true of it. */
export const FATES = [
  /** One of its steps at least was. */
  'executed',
  /** It was the plan, and another took its place, or the robot stood still or had ended, before a step. */
  'unused',
  /** The robot's loop had it, too old or with all its steps past. */
  'late',
  /** It reached the robot's session, which had given it up, or had a newer one. */
  'refused',
  /** Its robot had gone from that connection when it arrived, or it is on its way yet. */
  'away',
  /** The network lost it. */
  'lost',
  /** Its connection ended between its record and its frame. */
  'unsent',
] as const;
export type Fate = (typeof FATES)[number];

/**
 * Accounts for everything that a robot owes: every chunk has one fate, and what the robot counted itself
 * comes to the same.
 * @param usage of its session
 * @param sent ids of chunks that left a worker
 * @param calm nothing went wrong: then all was executed but the chunk that it had asked for when its
 *   loop ended
 * @throws Error naming what does not add up.
 */
export function accountFor(
  robot: SimRobot,
  usage: readonly UsageEntry[],
  sent: ReadonlySet<string>,
  calm: boolean,
): Record<Fate, number> {
  const wrong: string[] = [];
  const fates = Object.fromEntries(FATES.map((fate) => [fate, 0])) as Record<Fate, number>;
  const executed = new Map<string, number>();
  for (const id of robot.executed) executed.set(id, (executed.get(id) ?? 0) + 1);
  for (const { id, actions } of usage) {
    const fate = fateOf(robot, id, sent);
    fates[fate] += 1;
    if (actions !== (robot.handed.get(id) ?? simSpec.horizon)) {
      wrong.push(`${id} was metered as ${actions} actions`);
    }
    if ((executed.get(id) ?? 0) > actions) wrong.push(`more of ${id} was executed than metered`);
    const asked = robot.lastAsked;
    if (calm && fate !== 'executed' && !id.endsWith(`:${asked}`)) {
      wrong.push(`${id} was metered and ${fate}, and nothing went wrong`);
    }
  }
  const { chunks, dropped, actionsReceived } = robot.stats;
  const taken = chunks + dropped.late + dropped.duplicate + dropped.foreign + dropped.invalid;
  // A refusal of what was given up before counts as late as well.
  if (taken < robot.arrived || taken > robot.arrived + robot.refusals)
    wrong.push(`${robot.arrived} chunks came, ${taken} are accounted for`);
  const handed = [...robot.handed.values()].reduce((sum, rows) => sum + rows, 0);
  if (handed !== actionsReceived) wrong.push(`${handed} actions came, ${actionsReceived} counted`);
  const stale = robot.counter.staleChunks;
  if (fates.late > stale) wrong.push(`${fates.late} chunks came late, ${stale} counted`);
  // One more is what was in hand when the loop ended.
  if (fates.unused > stale - fates.late + 1) wrong.push(`${fates.unused} plans were not executed`);
  if (wrong.length > 0) throw new Error(wrong.map((text) => `${robot.id}: ${text}`).join('\n'));
  return fates;
}

function fateOf(robot: SimRobot, id: string, sent: ReadonlySet<string>): Fate {
  if (robot.executed.includes(id)) return 'executed';
  if (robot.planned.has(id)) return 'unused';
  if (robot.handed.has(id)) return 'late';
  if (robot.reached.has(id)) return 'refused';
  if (robot.lost.has(id)) return 'lost';
  return sent.has(id) ? 'away' : 'unsent';
}
