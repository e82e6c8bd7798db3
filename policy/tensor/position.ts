import { reshape } from './broadcast.ts';
import { add, mul, sub } from './elementwise.ts';
import { ShapeError } from './errors.ts';
import type { Tensor } from './graph.ts';
import { cast } from './logic.ts';
import { concat, slice } from './shape.ts';
import { dim } from './shapes.ts';
import { cos, sin } from './unary.ts';

/** Rotary positions and the embedding of diffusion time. */

/** Cosines and sines of a rotation, each [B, 1, T, D/2] or what broadcasts with it. */
export interface Rotation {
  readonly cos: Tensor;
  readonly sin: Tensor;
}

/** Frequencies theta^(-2i/width), i < width/2. */
function frequencies(width: number, theta: number): number[] {
  return Array.from({ length: width / 2 }, (_, i) => theta ** ((-2 * i) / width));
}

/** Angles [B, T, D/2] as a rotation for heads [B, heads, T, D]. */
export function rotationOf(angles: Tensor): Rotation {
  const [batch, length, half] = [dim(angles.shape, 0), dim(angles.shape, 1), dim(angles.shape, 2)];
  const shaped = reshape(angles, [batch, 1, length, half]);
  return { cos: cos(shaped), sin: sin(shaped) };
}

/** The rotation of positions [B, T] (any type) for heads of `width`. */
export function rotation(positions: Tensor, width: number, theta: number): Rotation {
  const f = frequencies(width, theta);
  const at = reshape(cast(positions, 'float32'), [...positions.shape, 1]);
  return rotationOf(mul(at, at.graph.constant(f, [1, 1, f.length])));
}

/**
 * The multimodal rotation of Qwen2-VL: positions [3, B, T] (time, height, width); of the width/2
 * frequencies the first sections[0] turn by time, the next sections[1] by height, the last by width.
 */
export function multimodalRotation(
  positions: Tensor,
  width: number,
  theta: number,
  sections: readonly [number, number, number],
): Rotation {
  const [axes, batch, length] = [
    dim(positions.shape, 0),
    dim(positions.shape, 1),
    dim(positions.shape, 2),
  ];
  if (axes !== 3 || 2 * (sections[0] + sections[1] + sections[2]) !== width) {
    throw new ShapeError('mrope', `sections ${sections.join()} for width ${width}`, [
      positions.shape,
    ]);
  }
  const f = frequencies(width, theta);
  let start = 0;
  const parts = sections.map((count, axis) => {
    const own = f.slice(start, start + count);
    start += count;
    const at = cast(slice(positions, 0, axis, axis + 1), 'float32');
    return mul(reshape(at, [batch, length, 1]), at.graph.constant(own, [1, 1, count]));
  });
  return rotationOf(concat(parts, 2));
}

/** x [B, heads, T, D] turned: pair i is (x[i], x[i + D/2]), the halves convention. */
export function rotate(x: Tensor, turn: Rotation): Tensor {
  const width = dim(x.shape, -1);
  if (width % 2 !== 0) throw new ShapeError('rope', 'the width is odd', [x.shape]);
  const axis = x.shape.length - 1;
  const a = slice(x, axis, 0, width / 2);
  const b = slice(x, axis, width / 2, width);
  const first = sub(mul(a, turn.cos), mul(b, turn.sin));
  const second = add(mul(b, turn.cos), mul(a, turn.sin));
  return concat([first, second], axis);
}

/** Rotary embedding of x [B, heads, T, D] at positions [B, T]. */
export function rope(x: Tensor, positions: Tensor, theta: number): Tensor {
  return rotate(x, rotation(positions, dim(x.shape, -1), theta));
}

/** Multimodal rotary embedding of x [B, heads, T, D] at positions [3, B, T]. */
export function mrope(
  x: Tensor,
  positions: Tensor,
  theta: number,
  sections: readonly [number, number, number],
): Tensor {
  return rotate(x, multimodalRotation(positions, dim(x.shape, -1), theta, sections));
}

/** t [B] → [B, width]: [sin | cos] of t·10000^(-i/(width/2 - 1)). */
export function timestepEmbedding(t: Tensor, width: number): Tensor {
  if (width % 2 !== 0 || width < 4 || t.shape.length !== 1) {
    throw new ShapeError(
      'timestepEmbedding',
      `width ${width} is not even and ≥ 4, or t no vector`,
      [t.shape],
    );
  }
  const half = width / 2;
  const f = Array.from({ length: half }, (_, i) => 10000 ** (-i / (half - 1)));
  const angles = mul(
    reshape(cast(t, 'float32'), [dim(t.shape, 0), 1]),
    t.graph.constant(f, [1, half]),
  );
  return concat([sin(angles), cos(angles)], 1);
}
