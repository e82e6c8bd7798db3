import { createCanvas } from '@napi-rs/canvas';
import { type Arm, poseOf } from './arm.ts';
import { at } from './at.ts';
import { type Camera, pictureSize, type Projection, projection, toPixel } from './camera.ts';
import { colours, type Rgb } from './colours.ts';
import type { Scene } from './scene.ts';

/** Bytes of one picture, u8 [64, 64, 3]. */
export const pictureBytes = pictureSize * pictureSize * 3;

/** Draws pictures of a table on one canvas that it keeps. Not to be shared between threads. */
export class Renderer {
  readonly #canvas = createCanvas(pictureSize, pictureSize);
  readonly #pen = this.#canvas.getContext('2d', { alpha: false });

  constructor() {
    this.#pen.lineCap = 'round';
    this.#pen.lineJoin = 'round';
  }

  /**
   * What a camera sees: RGB u8 [64, 64, 3], row by row from the top. Links and tool are drawn over
   * the objects. `state` is the arm's [dimension]; writes into `out` when one is given.
   */
  render(
    camera: Camera,
    scene: Scene,
    arm: Arm,
    state: ArrayLike<number>,
    out: Uint8Array = new Uint8Array(pictureBytes),
  ): Uint8Array {
    if (out.length !== pictureBytes) {
      throw new RangeError(`out has ${out.length} bytes, a picture has ${pictureBytes}`);
    }
    const pose = poseOf(arm, state);
    const view = projection(camera, pose);
    this.#table(scene, view);
    this.#arm(
      scene,
      arm,
      pose.points.map((point) => toPixel(view, point)),
      view,
    );
    this.#tool(scene, arm, state, view, pose.heading, toPixel(view, pose.tool));
    const stored = this.#canvas.data();
    dropAlpha(new Uint32Array(stored.buffer, stored.byteOffset, stored.byteLength / 4), out);
    return out;
  }

  #table(scene: Scene, view: Projection): void {
    const pen = this.#pen;
    pen.fillStyle = paint(scene.table, scene.light);
    pen.fillRect(0, 0, pictureSize, pictureSize);
    for (const disc of scene.discs) {
      const [u, v] = toPixel(view, disc);
      const radius = disc.radius * view.scale;
      if (u < -radius || v < -radius || u > pictureSize + radius || v > pictureSize + radius) {
        continue;
      }
      pen.fillStyle = paint(colours[disc.colour], scene.light, disc.shade);
      pen.beginPath();
      pen.arc(u, v, radius, 0, 2 * Math.PI);
      pen.fill();
    }
  }

  #arm(scene: Scene, arm: Arm, points: readonly [number, number][], view: Projection): void {
    const pen = this.#pen;
    pen.strokeStyle = paint(arm.look.colour, scene.light);
    pen.lineWidth = arm.look.width * view.scale;
    pen.beginPath();
    points.forEach(([u, v], i) => {
      if (i === 0) pen.moveTo(u, v);
      else pen.lineTo(u, v);
    });
    pen.stroke();
  }

  /** A small ring, or two fingers whose distance is the opening. */
  #tool(
    scene: Scene,
    arm: Arm,
    state: ArrayLike<number>,
    view: Projection,
    heading: number,
    [u, v]: [number, number],
  ): void {
    const pen = this.#pen;
    pen.strokeStyle = paint(toolColour, scene.light);
    pen.lineWidth = 0.016 * view.scale;
    pen.beginPath();
    if (!arm.gripper) {
      pen.arc(u, v, 0.026 * view.scale, 0, 2 * Math.PI);
    } else {
      const reach = { x: 0.03 * Math.cos(heading), y: 0.03 * Math.sin(heading) };
      const [fu, fv] = direction(view, reach);
      const half = 0.014 + 0.03 * at(state, arm.links.length);
      const [su, sv] = direction(view, {
        x: -half * Math.sin(heading),
        y: half * Math.cos(heading),
      });
      for (const side of [-1, 1]) {
        pen.moveTo(u + side * su - fu, v + side * sv - fv);
        pen.lineTo(u + side * su + fu, v + side * sv + fv);
      }
      pen.moveTo(u - su - fu, v - sv - fv);
      pen.lineTo(u + su - fu, v + sv - fv);
    }
    pen.stroke();
  }
}

const toolColour: Rgb = [24, 24, 28];

/** One little-endian RGBA word a pixel to RGB bytes; all are opaque, so nothing is premultiplied. */
function dropAlpha(words: Uint32Array, out: Uint8Array): void {
  for (let i = 0, to = 0; i < words.length; i++, to += 3) {
    const word = words[i];
    // A plain read and this check are what the compiler makes fastest (5 times over an iterator).
    if (word === undefined) throw new RangeError(`pixel ${i} is missing`);
    out[to] = word & 255;
    out[to + 1] = (word >>> 8) & 255;
    out[to + 2] = (word >>> 16) & 255;
  }
}

function direction(view: Projection, d: { x: number; y: number }): [number, number] {
  return [view.across[0] * d.x + view.along[0] * d.y, view.across[1] * d.x + view.along[1] * d.y];
}

function paint(colour: Rgb, light: number, shade: Rgb = [0, 0, 0]): string {
  const channel = (i: 0 | 1 | 2) =>
    Math.min(255, Math.max(0, Math.round((colour[i] + shade[i]) * light)));
  return `rgb(${channel(0)},${channel(1)},${channel(2)})`;
}
