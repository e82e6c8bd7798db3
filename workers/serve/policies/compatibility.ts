import { ArmatureError, type EmbodimentSpec } from '@armature/sdk/contract';
import type { PolicyManifest } from './port.ts';

/**
 * Whether a version was trained for the robot of a session: the same joints in the same order, the
 * same cameras, as many actions a chunk. Limits and rates are the session's own.
 * @throws ArmatureError `incompatible_policy` naming what differs.
 */
export function assertCompatible(spec: EmbodimentSpec, manifest: PolicyManifest): void {
  const trained = manifest.spec;
  const pairs: [string, string, string][] = [
    ['state', joints(trained.state), joints(spec.state)],
    ['action', joints(trained.action), joints(spec.action)],
    ['cameras', cameras(trained), cameras(spec)],
    ['horizon', String(trained.horizon), String(spec.horizon)],
    ['control_hz', String(trained.control_hz), String(spec.control_hz)],
  ];
  for (const [field, had, has] of pairs) {
    if (had === has) continue;
    throw new ArmatureError(
      'incompatible_policy',
      `the policy was trained for ${field} ${had}, the robot has ${has}`,
      {
        field: `embodiment.${field}`,
        fix: 'Deploy a version that was trained for this embodiment.',
      },
    );
  }
}

function joints(list: readonly { readonly name: string; readonly unit: string }[]): string {
  return list.map(({ name, unit }) => `${name} (${unit})`).join(', ');
}

function cameras(spec: EmbodimentSpec): string {
  return spec.cameras.map(({ name, kind }) => `${name} (${kind})`).join(', ');
}
