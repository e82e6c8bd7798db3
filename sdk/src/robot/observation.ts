import {
  ArmatureError,
  checkObservation,
  encodeFrame,
  MAX_FRAME_BYTES,
  Ndarray,
  type Chunking,
  type WireImage,
  type WireObservation,
} from '../../contract/index.ts';
import type { ActionRow, CameraName, EmbodimentShape, StateJoint } from './embodiment.ts';

/** A picture: an encoded JPEG, or RGB pixels u8 [height, width, 3] of the camera's size. */
export type Picture = { readonly jpeg: Uint8Array } | { readonly pixels: Uint8Array };

/** What a robot sees and feels. */
export interface Observation<S extends EmbodimentShape> {
  /** A picture of every camera. */
  readonly images: { readonly [C in CameraName<S>]: Picture };
  /** A value for every state joint by name, or all of them in the spec's order; the spec's units. */
  readonly state: { readonly [J in StateJoint<S>]: number } | Float32Array;
  /** The task in words; the one before holds where it is left out. */
  readonly instruction?: string;
  /** Capture time, ms since the Unix epoch; now unless told. */
  readonly capturedAt?: number;
}

/** What was executed last, as the next observation reports it. */
export type Executed = NonNullable<WireObservation['executed']>;

export interface ObservationEnvelope {
  readonly seq: number;
  readonly capturedAt: number;
  readonly executed: Executed | undefined;
  readonly deadlineMs: number | undefined;
  /** What the worker before gave along. */
  readonly resume?: string | undefined;
  readonly chunking?: Chunking | undefined;
  /** Whether reasonings are told of before the chunks that they drive. */
  readonly reasoningFrames?: boolean | undefined;
  /** What the last chunk cost: steps executed meanwhile, and ms. */
  readonly delay?: { readonly steps: number; readonly latencyMs: number } | undefined;
}

/**
 * The frame of an observation, checked against the embodiment before anything is sent.
 * @throws ArmatureError `missing_camera`, `invalid_observation`, `invalid_state`,
 *   `payload_too_large`, with the field.
 */
export function observationFrame<S extends EmbodimentShape>(
  spec: S,
  observation: Observation<S>,
  envelope: ObservationEnvelope,
): Uint8Array {
  const cameras = new Map(spec.cameras.map((camera) => [camera.name, camera]));
  const images: Record<string, WireImage> = {};
  for (const [name, picture] of Object.entries<Picture>(observation.images)) {
    images[name] = wireImage(name, picture, cameras.get(name));
  }
  const frame: WireObservation = {
    type: 'observation',
    seq: envelope.seq,
    captured_at: envelope.capturedAt,
    images,
    state: Ndarray.float32(vector(spec.state, observation.state, 'state', 'invalid_state')),
    ...(observation.instruction === undefined ? {} : { instruction: observation.instruction }),
    ...(envelope.executed === undefined ? {} : { executed: envelope.executed }),
    ...(envelope.resume === undefined ? {} : { resume: envelope.resume }),
    ...(envelope.chunking === undefined ? {} : { chunking: envelope.chunking }),
    ...(envelope.reasoningFrames === undefined
      ? {}
      : { reasoning_frames: envelope.reasoningFrames }),
    ...(envelope.delay === undefined
      ? {}
      : { delay: { steps: envelope.delay.steps, latency_ms: envelope.delay.latencyMs } }),
    ...(envelope.deadlineMs === undefined ? {} : { deadline_ms: envelope.deadlineMs }),
  };
  checkObservation(spec, frame);
  const bytes = encodeFrame(frame);
  if (bytes.byteLength > MAX_FRAME_BYTES) {
    throw new ArmatureError(
      'payload_too_large',
      `the observation holds ${bytes.byteLength} bytes, at most ${MAX_FRAME_BYTES} can be sent`,
      { field: 'images', fix: 'Send JPEG instead of pixels.' },
    );
  }
  return bytes;
}

function wireImage(
  name: string,
  picture: Picture,
  camera: EmbodimentShape['cameras'][number] | undefined,
): WireImage {
  if ('jpeg' in picture) return { jpeg: picture.jpeg };
  // A camera that the spec lacks is refused, with all others named, by the check that follows.
  const shape = camera === undefined ? [0, 0, 3] : [camera.height, camera.width, 3];
  const bytes = camera === undefined ? 0 : camera.height * camera.width * 3;
  if (camera !== undefined && picture.pixels.byteLength !== bytes) {
    throw new ArmatureError(
      'invalid_observation',
      `images.${name} holds ${picture.pixels.byteLength} bytes, expected ${bytes} for RGB of ${camera.width}×${camera.height}`,
      { field: `images.${name}.pixels`, fix: 'Resize the picture to the size in the spec.' },
    );
  }
  return { pixels: Ndarray.uint8(picture.pixels.subarray(0, bytes), shape) };
}

/**
 * Values in the spec's order, by name or as they are, in an array of their own.
 * @throws ArmatureError `code` naming the joint that is missing.
 */
export function vector(
  joints: readonly { readonly name: string }[],
  values: Readonly<Record<string, number>> | Float32Array,
  field: string,
  code: 'invalid_state' | 'invalid_action',
): Float32Array {
  if (values instanceof Float32Array) return values.slice();
  return Float32Array.from(joints, ({ name }) => {
    const value = values[name];
    if (typeof value === 'number') return value;
    throw new ArmatureError(code, `${field} has no ${name}`, {
      field: `${field}.${name}`,
      fix: `Give one number for each of: ${joints.map((joint) => joint.name).join(', ')}.`,
    });
  });
}

/** The rows of a chunk by joint name. @param actions f32 [H·A]. */
export function actionRows<S extends EmbodimentShape>(
  spec: S,
  actions: Float32Array,
): ActionRow<S>[] {
  const width = spec.action.length;
  return Array.from({ length: actions.length / width }, (_, step) => {
    const row = actions.subarray(step * width, (step + 1) * width);
    // Keys are exactly the action joints of the spec that the type is made from.
    return Object.fromEntries(spec.action.map(({ name }, i) => [name, row[i]])) as ActionRow<S>;
  });
}
