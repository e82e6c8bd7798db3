import {
  assertWithinLimits,
  followCommand,
  jointLimits,
  roundingOf,
  type JointLimits,
} from '../../contract/index.ts';
import type { Chunk } from './chunk.ts';
import type { ActionRow, EmbodimentShape } from './embodiment.ts';
import { vector } from './observation.ts';

/** A joint with rate limits, and its command. */
interface Joint {
  readonly limits: JointLimits;
  /** In the spec's order of actions. */
  readonly index: number;
  /** Last command; before the first the measured position, or NaN. */
  position: number;
  /** Its change over the control period before; NaN where it is not known. */
  step: number;
}

type Values = Readonly<Record<string, number>>;

/**
 * Keeps what a robot executes within the velocities and accelerations of its embodiment, one command a
 * control period. A worker checks each chunk from where the robot was when it looked; a robot that goes
 * over to it later, at another step, has to check that step from where it is now. `run` does so by
 * itself; a robot that executes chunks of `act` asks `next` for every step.
 */
export class CommandLimits<S extends EmbodimentShape> {
  private readonly spec: S;
  private readonly joints: readonly Joint[];

  constructor(spec: S) {
    this.spec = spec;
    this.joints = jointLimits(spec)
      .map((limits, index) => ({ limits, index, position: NaN, step: NaN }))
      .filter(({ limits }) => limits.step < Infinity || limits.change < Infinity);
  }

  /**
   * What to execute for a step of a chunk, taken as executed. Where the embodiment clamps, a joint that
   * cannot be where the chunk wants it follows the chunk and closes up as fast as it can brake again,
   * never past where the chunk goes on to.
   * @param wanted what is to be executed there; the chunk's own unless told
   * @returns `wanted` itself where the limits change nothing
   * @throws ArmatureError `invalid_action` where the embodiment refuses; then nothing was executed.
   */
  next(chunk: Pick<Chunk<S>, 'rows'>, step: number, wanted = rowOf(chunk, step)): ActionRow<S> {
    const made = this.joints.map((joint) => {
      const value = valueOf(wanted, joint);
      if (this.spec.on_violation === 'refuse') {
        assertWithinLimits(joint.limits, step, value, joint.position, joint.step);
        return value;
      }
      const bounded = followCommand(
        joint.limits,
        course(chunk, step, joint, value),
        step,
        joint.position,
        joint.step,
      );
      return Math.abs(bounded - value) > roundingOf(value, joint.position) ? bounded : value;
    });
    const changed = this.joints.flatMap((joint, i) => {
      const value = made[i] ?? NaN;
      joint.step = value - joint.position;
      joint.position = value;
      return value === valueOf(wanted, joint) ? [] : [[joint.limits.name, value] as const];
    });
    return changed.length === 0 ? wanted : { ...wanted, ...Object.fromEntries(changed) };
  }

  /**
   * The robot's own filters made this of the last command.
   * @throws ArmatureError `invalid_action` for a command that lacks a joint.
   */
  changed(command: ActionRow<S> | Float32Array): void {
    const values = vector(this.spec.action, command, 'command', 'invalid_action');
    for (const joint of this.joints) {
      const value = values[joint.index] ?? NaN;
      joint.step += value - joint.position;
      joint.position = value;
    }
  }

  /** A control period passed without a command: the last one held. */
  held(): void {
    for (const joint of this.joints) joint.step = 0;
  }

  /** Nothing has been executed yet. @param state f32 [S], measured in the spec's order */
  startAt(state: Float32Array): void {
    const { action, state: measured } = this.spec;
    for (const joint of this.joints) {
      const { name, unit } = action[joint.index] ?? {};
      const i = measured.findIndex((other) => other.name === name && other.unit === unit);
      joint.position = state[i] ?? NaN;
    }
  }
}

function rowOf<S extends EmbodimentShape>(
  { rows }: Pick<Chunk<S>, 'rows'>,
  step: number,
): ActionRow<S> {
  const row = rows[step];
  if (row === undefined) throw new RangeError(`a chunk of ${rows.length} has no step ${step}`);
  return row;
}

/** Where a joint is to be at every step: at `value` at this one, and to and from it as the chunk goes. */
function course(
  { rows }: { readonly rows: readonly Values[] },
  step: number,
  joint: Joint,
  value: number,
): number[] {
  const own = rows.map((row) => valueOf(row, joint));
  const offset = value - (own[step] ?? value);
  return own.map((other, i) => (i === step ? value : other + offset));
}

function valueOf(row: Values, { limits: { name } }: Joint): number {
  const value = row[name];
  if (value === undefined) throw new TypeError(`a command without ${name}`);
  return value;
}
