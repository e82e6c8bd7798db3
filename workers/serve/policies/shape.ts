import type { EmbodimentSpec } from '@armature/sdk/contract';
import type { PolicyManifest } from './port.ts';

/** Cameras of a row, or the most of each kind among the rows of a run. */
export interface Views {
  readonly external: number;
  readonly wrist: number;
}

/** What decides which graph a row runs in, beside the number of rows. */
export interface Shape {
  /** Picture size and horizon: rows of different families never share a run. */
  readonly family: string;
  readonly views: Views;
}

export function shapeOf({ image, spec }: Pick<PolicyManifest, 'image' | 'spec'>): Shape {
  return { family: `${image.width}x${image.height}/${spec.horizon}`, views: viewsOf(spec) };
}

function viewsOf(spec: EmbodimentSpec): Views {
  const wrist = spec.cameras.filter((camera) => camera.kind === 'wrist').length;
  return { external: spec.cameras.length - wrist, wrist };
}

export function union(views: readonly Views[]): Views {
  return {
    external: Math.max(0, ...views.map((view) => view.external)),
    wrist: Math.max(0, ...views.map((view) => view.wrist)),
  };
}
