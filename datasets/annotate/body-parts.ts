import type { EmbodimentSpec } from '@armature/sdk/contract';

/** Joints that move together and are spoken of together: an arm, a hand, a gripper. */
export interface BodyPart {
  /** As a sentence names it, e.g. `right hand`, `arm`. */
  readonly name: string;
  readonly kind: 'arm' | 'hand';
  /** Indices into the state. */
  readonly joints: readonly number[];
  /** Span of each joint in its unit, from the limits of the action of that name; `null` unknown. */
  readonly spans: readonly ({ readonly min: number; readonly max: number } | null)[];
}

const HAND = /hand|grip|finger|thumb|claw|jaw/i;
const GRIPPER = /grip|claw|jaw/i;

/** Groups the state's joints by side and by whether their names speak of a hand or gripper. */
export function bodyParts(spec: EmbodimentSpec): BodyPart[] {
  const limits = new Map(spec.action.map(({ name, min, max }) => [name, { min, max }]));
  const sided = spec.state.some(({ name }) => sideOf(name) !== '');
  const groups = new Map<string, { kind: BodyPart['kind']; joints: number[] }>();
  spec.state.forEach(({ name }, index) => {
    const kind = HAND.test(name) ? 'hand' : 'arm';
    const side = sideOf(name);
    const noun =
      kind === 'hand'
        ? GRIPPER.test(name)
          ? 'gripper'
          : 'hand'
        : sided && side === ''
          ? 'body'
          : 'arm';
    const key = side === '' ? noun : `${side} ${noun}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { kind, joints: [index] });
    else group.joints.push(index);
  });
  return [...groups].map(([name, { kind, joints }]) => ({
    name,
    kind,
    joints,
    spans: joints.map((joint) => limits.get(spec.state[joint]?.name ?? '') ?? null),
  }));
}

/** `left` or `right` where a word of the name says so; words break at capitals and punctuation. */
function sideOf(name: string): string {
  const words = name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z]+/);
  if (words.some((word) => word === 'left' || word === 'l')) return 'left';
  if (words.some((word) => word === 'right' || word === 'r')) return 'right';
  return '';
}
