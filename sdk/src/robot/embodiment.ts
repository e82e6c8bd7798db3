import {
  ArmatureError,
  embodimentSpecSchema,
  fromZodError,
  type EmbodimentSpec,
} from '../../contract/index.ts';

/** An embodiment spec whose names may be literal types, so that observations and actions follow. */
export type EmbodimentShape = DeepReadonly<EmbodimentSpec>;

type DeepReadonly<T> = T extends object ? { readonly [K in keyof T]: DeepReadonly<T[K]> } : T;

export type CameraName<S extends EmbodimentShape> = S['cameras'][number]['name'];
export type StateJoint<S extends EmbodimentShape> = S['state'][number]['name'];
export type ActionJoint<S extends EmbodimentShape> = S['action'][number]['name'];

/** One step of a chunk: a value for each action joint, in the spec's units. */
export type ActionRow<S extends EmbodimentShape> = { readonly [J in ActionJoint<S>]: number };

/**
 * A robot's embodiment with its names kept as types: an observation with another camera, a state
 * without one of its joints, an action read by a wrong name do not compile.
 * @throws ArmatureError `invalid_request` naming the field that is wrong.
 */
export function defineEmbodiment<const S extends EmbodimentShape>(spec: S): S {
  const parsed = embodimentSpecSchema.safeParse(spec);
  if (!parsed.success) throw fromZodError(parsed.error, 'invalid_request', 'embodiment');
  return spec;
}

/**
 * Checks that a worker serves the embodiment that this robot is.
 * @throws ArmatureError `embodiment_mismatch` naming the first field that differs.
 */
export function assertSameEmbodiment(own: EmbodimentShape, theirs: EmbodimentSpec): void {
  const differ = (field: string, mine: unknown, other: unknown): void => {
    if (Object.is(mine, other)) return;
    throw new ArmatureError(
      'embodiment_mismatch',
      `${field} is ${String(mine)} here and ${String(other)} at the worker`,
      { field, fix: 'Connect with the spec that the session was created with.' },
    );
  };
  differ('horizon', own.horizon, theirs.horizon);
  differ('control_hz', own.control_hz, theirs.control_hz);
  for (const part of ['state', 'action', 'cameras'] as const) {
    differ(`${part}.length`, own[part].length, theirs[part].length);
    own[part].forEach((item, i) => differ(`${part}[${i}].name`, item.name, theirs[part][i]?.name));
  }
  own.state.forEach((joint, i) => differ(`state[${i}].unit`, joint.unit, theirs.state[i]?.unit));
  own.action.forEach((joint, i) => differ(`action[${i}].unit`, joint.unit, theirs.action[i]?.unit));
  own.cameras.forEach((camera, i) => {
    differ(`cameras[${i}].width`, camera.width, theirs.cameras[i]?.width);
    differ(`cameras[${i}].height`, camera.height, theirs.cameras[i]?.height);
  });
}
