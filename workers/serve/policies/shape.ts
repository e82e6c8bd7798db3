import { standsOnBase } from '@armature/policy/checkpoint';
import type { EmbodimentSpec } from '@armature/sdk/contract';
import type { PolicyManifest } from './port.ts';

/** Cameras of a row, or the most of each kind among the rows of a run. */
export interface Views {
  readonly external: number;
  readonly wrist: number;
}

/** What decides which graph a row runs in, beside the number of rows. */
export interface Shape {
  /** Picture size, horizon, and whose trunk: rows of different families never share a run. */
  readonly family: string;
  readonly views: Views;
  /** Whether there are low-rank pairs beside the trunk, which graphs without such rows know nothing of. */
  readonly paired: boolean;
  /** Whether guidance goes through the network; rows with it never share a run with others. */
  readonly pulled: boolean;
}

/** @param pulled whether the row asks for guidance through the network */
export function shapeOf(
  manifest: Pick<PolicyManifest, 'image' | 'spec' | 'mode' | 'frozen_weights'>,
  pulled = false,
): Shape {
  const { image, spec, mode } = manifest;
  const trunk = standsOnBase(manifest) ? 'base' : 'own';
  const form = manifest.frozen_weights === undefined ? '' : `/${manifest.frozen_weights}`;
  return {
    family: `${image.width}x${image.height}/${spec.horizon}/${trunk}${form}`,
    views: viewsOf(spec),
    paired: mode === 'lora',
    pulled,
  };
}

function viewsOf(spec: EmbodimentSpec): Views {
  const wrist = spec.cameras.filter((camera) => camera.kind === 'wrist').length;
  return { external: spec.cameras.length - wrist, wrist };
}

/**
 * The shape of a run of these rows, which are of one family and guided in one way.
 * @throws RangeError for none.
 */
export function runShape(shapes: readonly Shape[]): Shape {
  const [first] = shapes;
  if (first === undefined) throw new RangeError('a run has at least one row');
  return {
    family: first.family,
    views: {
      external: Math.max(...shapes.map(({ views }) => views.external)),
      wrist: Math.max(...shapes.map(({ views }) => views.wrist)),
    },
    paired: shapes.some(({ paired }) => paired),
    pulled: first.pulled,
  };
}
