import { AV_PIX_FMT_BGR24, AV_PIX_FMT_RGB24, AV_PIX_FMT_RGBA } from 'node-av/constants';
import type { Frame } from 'node-av/lib';
import { ArmatureError } from '@armature/sdk/contract';

/** One plane of a picture with the bytes from one row to the next. */
export interface Plane {
  readonly bytes: Uint8Array;
  readonly stride: number;
}

/** @throws ArmatureError `invalid_dataset` when the picture has no such plane. */
export function planeOf(frame: Frame, index: number): Plane {
  const bytes = frame.data?.[index];
  const stride = frame.linesize[index];
  if (bytes === undefined || stride === undefined || stride <= 0) {
    throw new ArmatureError('invalid_dataset', `a picture has no plane ${index}`, {
      fix: 'Encode the video in a planar YUV or RGB pixel format.',
    });
  }
  return { bytes, stride };
}

/** Bytes of the first plane's rows: a byte a pixel, or all channels where they lie together. */
export function rowBytes(frame: Frame): number {
  const channels = new Map<number, number>([
    [AV_PIX_FMT_RGB24, 3],
    [AV_PIX_FMT_BGR24, 3],
    [AV_PIX_FMT_RGBA, 4],
  ]);
  return frame.width * (channels.get(frame.format) ?? 1);
}

/** A plane's rows without padding; a view of the frame where there is none, else a copy. */
export function packedRows(frame: Frame, index: number, rowBytes: number): Uint8Array {
  const { bytes, stride } = planeOf(frame, index);
  const rows = frame.height;
  if (stride === rowBytes) return bytes.subarray(0, rows * rowBytes);
  const packed = new Uint8Array(rows * rowBytes);
  for (let row = 0; row < rows; row += 1) {
    packed.set(bytes.subarray(row * stride, row * stride + rowBytes), row * rowBytes);
  }
  return packed;
}
