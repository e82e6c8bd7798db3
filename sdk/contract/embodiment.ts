import * as z from 'zod';

const name = z.string().min(1).max(120);
const finite = z.number().refine(Number.isFinite, 'must be finite');

/** What an action of a joint group is measured from. */
export const referenceSchema = z.enum(['absolute', 'state', 'last_command']);
export type Reference = z.infer<typeof referenceSchema>;

export const jointSchema = z.strictObject({
  name,
  /** Unit of the value on the wire, e.g. `rad`, `m`, `ratio`. */
  unit: z.string().min(1).max(24),
});

/** One dimension of the action: its group, its limits in `unit`, and optional rate limits. */
export const actionJointSchema = jointSchema.extend({
  group: name,
  min: finite,
  max: finite,
  /** Largest change in `unit` a second. */
  max_velocity: finite.positive().optional(),
  /** Largest change of velocity in `unit` a second squared. */
  max_acceleration: finite.positive().optional(),
});

export const cameraSchema = z.strictObject({
  name,
  /** A wrist view always costs 16 visual tokens, an external view the preset's full number. */
  kind: z.enum(['external', 'wrist']),
  width: z.number().int().min(8).max(4096),
  height: z.number().int().min(8).max(4096),
});

/**
 * An embodiment: what a robot sees, feels and can do. Dimensions of state and action are in the
 * order listed here, in every array on the wire and in every data set of this embodiment.
 */
export const embodimentSpecSchema = z
  .strictObject({
    name,
    control_hz: finite.min(1).max(1000),
    /** Actions a chunk. */
    horizon: z.number().int().min(8).max(64).multipleOf(8),
    state: z.array(jointSchema).min(1).max(64),
    action: z.array(actionJointSchema).min(1).max(64),
    /** For each group of action joints, what its actions are relative to. */
    references: z.record(name, referenceSchema),
    cameras: z.array(cameraSchema).min(1).max(4),
    /** What happens to an action outside the limits, before it leaves the worker and before it is executed. */
    on_violation: z.enum(['clamp', 'refuse']),
    /** What a robot does when no action is left. */
    when_starved: z.enum(['hold', 'stop']),
  })
  .superRefine((spec, ctx) => {
    unique(ctx, 'state', spec.state);
    unique(ctx, 'action', spec.action);
    unique(ctx, 'cameras', spec.cameras);
    const stateNames = new Set(spec.state.map((joint) => joint.name));
    spec.action.forEach((joint, index) => {
      if (joint.min >= joint.max) {
        ctx.addIssue({
          code: 'custom',
          path: ['action', index, 'max'],
          message: `max ${joint.max} of ${joint.name} must be greater than min ${joint.min}`,
        });
      }
      const reference = spec.references[joint.group];
      if (reference === undefined) {
        ctx.addIssue({
          code: 'custom',
          path: ['references', joint.group],
          message: `group ${joint.group} of ${joint.name} has no reference: absolute, state or last_command`,
        });
      } else if (reference !== 'absolute' && !stateNames.has(joint.name)) {
        ctx.addIssue({
          code: 'custom',
          path: ['action', index, 'name'],
          message: `${joint.name} is relative (${reference}) but the state has no joint of that name`,
        });
      }
    });
  });
export type EmbodimentSpec = z.infer<typeof embodimentSpecSchema>;

function unique(
  ctx: z.core.$RefinementCtx,
  field: string,
  items: readonly { readonly name: string }[],
): void {
  const seen = new Set<string>();
  items.forEach((item, index) => {
    if (seen.has(item.name)) {
      ctx.addIssue({
        code: 'custom',
        path: [field, index, 'name'],
        message: `${item.name} occurs twice`,
      });
    }
    seen.add(item.name);
  });
}

/**
 * The longest prefix that a chunk can begin with: d actions pass while the next chunk is computed, and as
 * many of the new one at least must be executed before its successor takes over (d ≤ H − d).
 */
export function longestPrefix({ horizon }: Pick<EmbodimentSpec, 'horizon'>): number {
  return Math.floor(horizon / 2);
}
