import type { EmbodimentSpec } from './embodiment.ts';
import { ArmatureError } from './errors.ts';
import { Ndarray } from './ndarray.ts';
import { Float64, TextArray } from './numpy-values.ts';
import type { WireChunk, WireImage, WireObservation } from './wire.ts';

/** One entry of an openpi observation: numpy's name of the type, and the shape ([] for text). */
export interface OpenpiEntry {
  readonly dtype: 'uint8' | 'float32' | 'str';
  readonly shape: readonly number[];
}

/** The keys that an openpi client sends for an embodiment: pictures, state, prompt. */
export function openpiObservation(
  spec: Pick<EmbodimentSpec, 'cameras' | 'state'>,
): Record<string, OpenpiEntry> {
  return {
    ...Object.fromEntries(
      spec.cameras.map((camera): [string, OpenpiEntry] => [
        `observation/${camera.name}`,
        { dtype: 'uint8', shape: [camera.height, camera.width, 3] },
      ]),
    ),
    'observation/state': { dtype: 'float32', shape: [spec.state.length] },
    prompt: { dtype: 'str', shape: [] },
  };
}

/**
 * An openpi observation as an observation of `armature.v1`. Pictures lie under `observation/<camera>`
 * or in a map `images`, the state under `observation/state` or `state`, the prompt under `prompt`.
 * Pictures with channels first are turned, floats from 0 to 1 become bytes, as openpi's own servers
 * have it; a JPEG file in bytes is taken as well. Keys that the embodiment does not know are ignored.
 * @throws ArmatureError `missing_camera`, `invalid_observation`, `invalid_state` naming the key.
 */
export function fromOpenpi(
  spec: Pick<EmbodimentSpec, 'name' | 'cameras' | 'state'>,
  message: unknown,
  envelope: { readonly seq: number; readonly capturedAt: number },
): WireObservation {
  if (!isMap(message)) {
    throw new ArmatureError('invalid_observation', 'an observation is a map of named values', {
      fix: `Send a map with ${Object.keys(openpiObservation(spec)).join(', ')}.`,
    });
  }
  const nested = isMap(message['images']) ? message['images'] : {};
  const images: Record<string, WireImage> = {};
  for (const camera of spec.cameras) {
    const key = `observation/${camera.name}`;
    const value = message[key] ?? nested[camera.name];
    if (value === undefined) {
      throw new ArmatureError('missing_camera', `the observation has no ${key}`, {
        field: key,
        fix: `Send a picture u8 [${camera.height}, ${camera.width}, 3] under ${key}.`,
      });
    }
    images[camera.name] = pictureOf(key, value);
  }
  const state = message['observation/state'] ?? message['state'];
  if (!(state instanceof Ndarray)) {
    throw new ArmatureError('invalid_state', 'the observation has no array observation/state', {
      field: 'observation/state',
      fix: `Send an array of ${spec.state.length} numbers under observation/state.`,
    });
  }
  const prompt = promptOf(message['prompt']);
  return {
    type: 'observation',
    seq: envelope.seq,
    captured_at: envelope.capturedAt,
    images,
    state,
    ...(prompt === undefined ? {} : { instruction: prompt }),
  };
}

/** Times that go with an openpi reply, ms. */
export interface OpenpiTimings {
  readonly policyMs: number;
  readonly serverMs: number;
  /** Of the request before on this connection. */
  readonly previousMs: number | undefined;
}

/** A chunk as openpi's server replies it: actions f64 [H, A], then the timings. */
export function toOpenpi(chunk: WireChunk, timings: OpenpiTimings): Record<string, unknown> {
  const values = Float64Array.from(chunk.actions.toFloat32());
  return {
    actions: new Ndarray('<f8', chunk.actions.shape, new Uint8Array(values.buffer)),
    policy_timing: { infer_ms: new Float64(timings.policyMs) },
    server_timing: {
      infer_ms: new Float64(timings.serverMs),
      ...(timings.previousMs === undefined
        ? {}
        : { prev_total_ms: new Float64(timings.previousMs) }),
    },
  };
}

function pictureOf(key: string, value: unknown): WireImage {
  if (value instanceof Uint8Array) return { jpeg: value };
  if (!(value instanceof Ndarray) || value.shape.length !== 3) {
    throw new ArmatureError('invalid_observation', `${key} is no picture`, {
      field: key,
      fix: 'Send an array [height, width, 3] of bytes.',
    });
  }
  const bytes = value.dtype === '|u1' ? value.data : bytesOf(value);
  const [first = 0, second = 0, third = 0] = value.shape;
  if (first !== 3 || third === 3) return { pixels: Ndarray.uint8(bytes, value.shape) };
  return { pixels: Ndarray.uint8(channelsLast(bytes, second * third), [second, third, 3]) };
}

/** Floats 0 to 1 as bytes, cut off as numpy's `astype` does; integers as they are. */
function bytesOf(picture: Ndarray): Uint8Array {
  const scale = picture.dtype.includes('f') ? 255 : 1;
  return Uint8Array.from(picture.toFloat32(), (value) =>
    Math.min(255, Math.max(0, Math.trunc(value * scale))),
  );
}

/** [3, pixels] to [pixels, 3]. */
function channelsLast(bytes: Uint8Array, pixels: number): Uint8Array {
  const out = new Uint8Array(bytes.length);
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < 3; c++) out[3 * i + c] = bytes[c * pixels + i] ?? 0;
  }
  return out;
}

function promptOf(value: unknown): string | undefined {
  if (value === undefined || typeof value === 'string') return value;
  const text = value instanceof TextArray ? value.strings() : [];
  if (text.length === 1) return text[0];
  throw new ArmatureError('invalid_observation', 'prompt is no text', {
    field: 'prompt',
    fix: 'Send the task in words as text.',
  });
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false;
  return Object.getPrototypeOf(value) === Object.prototype;
}
