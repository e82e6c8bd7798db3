export type Rgb = readonly [number, number, number];

/** The eight colours that objects have and instructions name, sRGB. */
export const colours = {
  red: [214, 38, 40],
  green: [38, 158, 62],
  blue: [36, 78, 222],
  yellow: [242, 218, 36],
  orange: [246, 130, 20],
  purple: [128, 44, 176],
  cyan: [48, 204, 222],
  pink: [250, 142, 200],
} as const satisfies Record<string, Rgb>;

export type ColourName = keyof typeof colours;

export const colourNames = Object.freeze(Object.keys(colours)) as readonly ColourName[];
