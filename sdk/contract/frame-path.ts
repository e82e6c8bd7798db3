import { ArmatureError } from './errors.ts';

/** Where in a frame a value lies: keys and indices from the root. */
export type FramePath = (string | number)[];

export function formatFramePath(path: FramePath): string {
  return path.reduce<string>(
    (text, part) =>
      typeof part === 'number'
        ? `${text}[${part}]`
        : text === ''
          ? printable(part)
          : `${text}.${printable(part)}`,
    '',
  );
}

/** The error of a frame that cannot be read or written, naming the value at `path`. */
export function invalidFrame(path: FramePath, message: string, fix: string): ArmatureError {
  const field = formatFramePath(path);
  return new ArmatureError('invalid_frame', `${field === '' ? 'frame' : field}: ${message}`, {
    ...(field === '' ? {} : { field }),
    fix,
  });
}

// A peer chooses its keys: they are cut and their control characters made visible before they
// reach a log or a terminal.
function printable(key: string): string {
  const cut = key.length > 64 ? `${key.slice(0, 61)}...` : key;
  return /^[\w\-/ .]*$/.test(cut) ? cut : JSON.stringify(cut);
}
