import type { z } from 'zod';
import { fromZodError } from './errors.ts';
import { invalidFrame } from './frame-path.ts';
import { MsgpackReader } from './msgpack-decode.ts';
import { MsgpackWriter } from './msgpack-encode.ts';
import { readerOf } from './reader.ts';
import {
  clientFrameSchema,
  MAX_FRAME_BYTES,
  serverFrameSchema,
  type ClientFrame,
  type ServerFrame,
} from './wire.ts';

/** Deepest nesting of lists and maps in a frame. */
export const MAX_FRAME_DEPTH = 32;
/** Most values in a frame, all levels together; an array counts as its marker's few. */
export const MAX_FRAME_VALUES = 65_536;

export interface DecodeOptions {
  /** Largest frame in bytes; `MAX_FRAME_BYTES` unless told. */
  maxBytes?: number;
  /** Most values; `MAX_FRAME_VALUES` unless told. */
  maxValues?: number;
  /**
   * Keeps what plain JavaScript values lose, so that encoding gives the same bytes again: whole
   * floats come as `Float64`, numpy scalars as `NumpyScalar`. Otherwise both come as plain values.
   */
  exact?: boolean;
}

/**
 * Writes a frame: msgpack with numpy markers, byte for byte as openpi-client packs it. Whole
 * numbers travel as integers, others as float64 (wrap one in `Float64` where a peer needs a float);
 * `Ndarray`, `TextArray` and `NumpyScalar` as numpy markers; undefined fields are left out.
 * @throws ArmatureError `invalid_frame` for what the wire does not carry.
 */
export function encodeFrame(frame: unknown): Uint8Array {
  const writer = new MsgpackWriter(MAX_FRAME_DEPTH);
  writer.write(frame);
  return writer.finish();
}

/**
 * Reads a frame. Bytes and arrays are views into `bytes`, which must not change afterwards;
 * integers beyond 2^53 are bigint.
 * @throws ArmatureError `invalid_frame` naming the value: cut short, trailing bytes, too deep, too
 *   large, extension types, keys that are not text, arrays whose bytes do not fit their shape.
 */
export function decodeFrame(bytes: Uint8Array, options: DecodeOptions = {}): unknown {
  const maxBytes = options.maxBytes ?? MAX_FRAME_BYTES;
  if (bytes.byteLength > maxBytes) {
    throw invalidFrame(
      [],
      `holds ${bytes.byteLength} bytes, at most ${maxBytes} are allowed`,
      'Send smaller pictures, or JPEG.',
    );
  }
  const limits = { maxDepth: MAX_FRAME_DEPTH, maxValues: options.maxValues ?? MAX_FRAME_VALUES };
  return new MsgpackReader(bytes, limits, options.exact ?? false).readAll();
}

/**
 * A frame from a robot, read and checked.
 * @throws ArmatureError `invalid_frame` naming the field.
 */
export function parseClientFrame(bytes: Uint8Array): ClientFrame {
  return checkClientFrame(decodeFrame(bytes));
}

/**
 * A frame from a worker, read and checked.
 * @throws ArmatureError `invalid_frame` naming the field.
 */
export function parseServerFrame(bytes: Uint8Array): ServerFrame {
  return checkServerFrame(decodeFrame(bytes));
}

/** Like `parseClientFrame`, of a frame that is decoded already. */
export function checkClientFrame(frame: unknown): ClientFrame {
  return check(readerOf(clientFrameSchema), frame);
}

/** Like `parseServerFrame`, of a frame that is decoded already. */
export function checkServerFrame(frame: unknown): ServerFrame {
  return check(readerOf(serverFrameSchema), frame);
}

function check<S extends z.ZodType>(schema: S, frame: unknown): z.output<S> {
  const parsed = schema.safeParse(frame);
  if (parsed.success) return parsed.data;
  throw fromZodError(parsed.error, 'invalid_frame', 'frame');
}
