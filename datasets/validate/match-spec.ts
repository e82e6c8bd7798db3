import type { EmbodimentSpec } from '@armature/sdk/contract';
import type { Dataset } from '../dataset.ts';
import type { Findings } from './findings.ts';

/** Rates further apart than this share are different rates. */
const RATE_TOLERANCE = 0.01;

/** Whether the set's description fits the embodiment: dimensions, names, cameras, rate. */
export function matchSpec(dataset: Dataset, spec: EmbodimentSpec, findings: Findings): void {
  matchNames(findings, 'state', dataset.stateNames, spec.state);
  matchNames(findings, 'action', dataset.actionNames, spec.action);
  for (const camera of spec.cameras) {
    const found = dataset.cameras.find(({ name }) => name === camera.name);
    if (found === undefined) {
      const names = dataset.cameras.map(({ name }) => name).join(', ');
      findings.add({
        severity: 'error',
        code: 'missing_camera',
        message: `the embodiment has a camera ${camera.name}, the data set has ${names === '' ? 'none' : names}`,
        fix: `Record observation.images.${camera.name}, or register an embodiment without that camera.`,
        feature: camera.name,
      });
    } else if (found.width !== camera.width || found.height !== camera.height) {
      findings.add({
        severity: 'warning',
        code: 'camera_size',
        message: `${camera.name} has ${found.width}×${found.height} pixels in the data set and ${camera.width}×${camera.height} in the embodiment`,
        fix: 'Pictures are resized; use one size in both so that the robot sees what it was trained on.',
        feature: camera.name,
      });
    }
  }
  for (const { name } of dataset.cameras) {
    if (spec.cameras.some((camera) => camera.name === name)) continue;
    findings.add({
      severity: 'warning',
      code: 'unused_camera',
      message: `the embodiment has no camera ${name}; its pictures are not used`,
      fix: `Add ${name} to the embodiment, or leave it out of the data set.`,
      feature: name,
    });
  }
  if (Math.abs(dataset.fps - spec.control_hz) > RATE_TOLERANCE * spec.control_hz) {
    findings.add({
      severity: 'error',
      code: 'fps_mismatch',
      message: `the data set has ${dataset.fps} frames a second, the embodiment is controlled at ${spec.control_hz} Hz`,
      fix: `Resample the data set to ${spec.control_hz} frames a second, or register an embodiment with control_hz ${dataset.fps}.`,
      feature: 'fps',
    });
  }
}

function matchNames(
  findings: Findings,
  feature: 'state' | 'action',
  names: readonly string[],
  joints: readonly { readonly name: string }[],
): void {
  if (names.length !== joints.length) {
    findings.add({
      severity: 'error',
      code: `${feature}_dimensions`,
      message: `${feature} has ${names.length} dimensions in the data set and ${joints.length} in the embodiment`,
      fix: `Register an embodiment whose ${feature} lists the ${names.length} dimensions of the data set in their order.`,
      feature,
    });
    return;
  }
  const differing = joints.findIndex((joint, index) => joint.name !== names[index]);
  if (differing < 0) return;
  findings.add({
    severity: 'error',
    code: `${feature}_names`,
    message: `${feature}[${differing}] is ${names[differing] ?? 'absent'} in the data set and ${joints[differing]?.name ?? 'absent'} in the embodiment`,
    fix: `Name and order the ${feature} of the embodiment as meta/info.json does.`,
    feature,
  });
}
