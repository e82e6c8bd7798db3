import { ArmatureError } from './errors.ts';
import type { Ndarray } from './ndarray.ts';
import type { WireImage, WireObservation } from './wire.ts';

/** The part of an embodiment spec that an observation is checked against. */
export interface ObservedEmbodiment {
  readonly name: string;
  readonly state: readonly { readonly name: string }[];
  readonly action: readonly { readonly name: string }[];
  readonly cameras: readonly {
    readonly name: string;
    readonly width: number;
    readonly height: number;
  }[];
}

/**
 * Checks an observation against its embodiment: every camera there and none besides, pixels u8
 * [height, width, 3] of the camera's size, a state of finite numbers of the right length, a last
 * command likewise. JPEG is checked for its first bytes only; its size shows when it is decoded.
 * @throws ArmatureError `missing_camera`, `invalid_observation` or `invalid_state`, with the field.
 */
export function checkObservation(spec: ObservedEmbodiment, observation: WireObservation): void {
  for (const camera of spec.cameras) {
    const image = observation.images[camera.name];
    if (image === undefined) {
      throw new ArmatureError(
        'missing_camera',
        `the observation has no picture of camera ${camera.name}`,
        {
          field: `images.${camera.name}`,
          fix: `Send a picture of every camera of ${spec.name}: ${names(spec.cameras)}.`,
        },
      );
    }
    checkImage(camera, image);
  }
  const known = new Set(spec.cameras.map((camera) => camera.name));
  const foreign = Object.keys(observation.images).find((name) => !known.has(name));
  if (foreign !== undefined) {
    throw new ArmatureError('invalid_observation', `${spec.name} has no camera ${foreign}`, {
      field: `images.${foreign}`,
      fix: `Send pictures of these cameras only: ${names(spec.cameras)}.`,
    });
  }
  checkVector('state', observation.state, spec.state);
  const command = observation.executed?.last_command;
  if (command !== undefined) checkVector('executed.last_command', command, spec.action);
}

function checkImage(camera: ObservedEmbodiment['cameras'][number], image: WireImage): void {
  const field = `images.${camera.name}`;
  if ('jpeg' in image) {
    if (image.jpeg[0] === 0xff && image.jpeg[1] === 0xd8) return;
    throw new ArmatureError('invalid_observation', `${field} is not a JPEG`, {
      field: `${field}.jpeg`,
      fix: 'Send a JPEG file, or raw pixels as u8 [height, width, 3] in `pixels`.',
    });
  }
  const { dtype, shape } = image.pixels;
  const wanted = [camera.height, camera.width, 3];
  if (dtype !== '|u1' || shape.length !== 3 || wanted.some((size, i) => shape[i] !== size)) {
    throw new ArmatureError(
      'invalid_observation',
      `${field} is ${dtype} [${shape.join(', ')}], expected u8 [${wanted.join(', ')}]`,
      { field: `${field}.pixels`, fix: 'Resize the picture to the size in the embodiment spec.' },
    );
  }
}

function checkVector(
  field: string,
  vector: Ndarray,
  joints: readonly { readonly name: string }[],
): void {
  if (vector.shape.length !== 1 || vector.shape[0] !== joints.length) {
    throw new ArmatureError(
      'invalid_state',
      `${field} is [${vector.shape.join(', ')}], expected [${joints.length}]`,
      { field, fix: `Send one number for each of: ${names(joints)}.` },
    );
  }
  const bad = vector.toFloat32().findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    throw new ArmatureError(
      'invalid_state',
      `${field}[${bad}] (${names(joints.slice(bad, bad + 1))}) is not finite`,
      {
        field: `${field}[${bad}]`,
        fix: 'Leave the observation out until the sensor gives a number again.',
      },
    );
  }
}

function names(items: readonly { readonly name: string }[]): string {
  return items.map((item) => item.name).join(', ');
}
