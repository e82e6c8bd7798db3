import type { EmbodimentSpec } from '@armature/sdk/contract';
import { describe, expect, it } from 'vitest';
import { smallSpec } from '../../../test/support/small-dataset.ts';
import { referenceName, stateOf } from './evaluate-version.ts';
import { withReference } from './input.ts';

/** Like `smallSpec`, with a gripper that the robot does not measure. */
const blindGripper: EmbodimentSpec = {
  ...smallSpec,
  state: smallSpec.state.filter(({ name }) => name !== 'gripper'),
};

describe('withReference', () => {
  it('puts one reference in place of every group’s own', () => {
    const spec = withReference(smallSpec, 'last_command');
    expect(spec.references).toEqual({ arm: 'last_command', hand: 'last_command' });
    expect(referenceName(spec)).toBe('last_command');
    expect(withReference(smallSpec, undefined)).toBe(smallSpec);
    expect(referenceName(smallSpec)).toBe('arm: state, hand: absolute');
  });

  it('refuses a relative action without a joint to be relative to', () => {
    expect(() => withReference(blindGripper, 'state')).toThrow(
      expect.objectContaining({ code: 'invalid_request', field: 'options.reference' }),
    );
    expect(withReference(blindGripper, 'absolute').references).toEqual({
      arm: 'absolute',
      hand: 'absolute',
    });
  });
});

describe('stateOf', () => {
  it('finds the joint that measures an action, in the same unit', () => {
    // The gripper's action is a ratio, its state radians: holding one for the other is nonsense.
    expect(stateOf(smallSpec)).toEqual([0, 1, null]);
    expect(stateOf(blindGripper)).toEqual([0, 1, null]);
    const ratio = smallSpec.state.map((joint) =>
      joint.name === 'gripper' ? { ...joint, unit: 'ratio' } : joint,
    );
    expect(stateOf({ ...smallSpec, state: ratio })).toEqual([0, 1, 2]);
  });
});
