const HAND = /hand|finger|thumb|gripper|claw|pinch/i;
const LEFT = /left|^l_|_l$|_l_|^kLeft/i;
const RIGHT = /right|^r_|_r$|_r_|^kRight/i;

/**
 * The group of each joint, told from its name: `left_arm`, `right_arm` and `hands` where the names
 * tell sides apart, `joints` and `gripper` otherwise.
 */
export function jointGroups(names: readonly string[]): string[] {
  const sided = names.some((name) => LEFT.test(name)) && names.some((name) => RIGHT.test(name));
  return names.map((name) => {
    if (HAND.test(name)) return sided ? 'hands' : 'gripper';
    if (!sided) return 'joints';
    if (LEFT.test(name)) return 'left_arm';
    return RIGHT.test(name) ? 'right_arm' : 'body';
  });
}

/** Whether the joint opens and closes something: its value then is a ratio where it fits 0 to 1. */
export function isHand(name: string): boolean {
  return HAND.test(name);
}
