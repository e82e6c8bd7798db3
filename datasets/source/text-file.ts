import { ArmatureError } from '@armature/sdk/contract';
import type { BlobSource } from './blob-source.ts';

/** Largest text that is read as one: a file of JSON, or a line of a file of lines. Real ones have some kilobytes. */
const MAX_TEXT_BYTES = 16 << 20;
/** Largest file of lines, whose every line becomes an object: ten million episodes. */
const MAX_LINES_BYTES = 1 << 30;
/** Bytes of one read of a file of lines. */
const PIECE_BYTES = 1 << 20;
const NEWLINE = 10;

/**
 * A small file of text.
 * @throws ArmatureError naming the file: `invalid_dataset` when it is missing or no UTF-8, `payload_too_large`.
 */
export async function readText(source: BlobSource, path: string): Promise<string> {
  assertSize(path, await sizeOf(source, path), MAX_TEXT_BYTES);
  return decode(path, await source.read(path));
}

/**
 * The lines of a file of text, of which no more than a piece and a line is held.
 * @throws ArmatureError as `readText` does.
 */
export async function* readTextLines(source: BlobSource, path: string): AsyncGenerator<string> {
  const size = await sizeOf(source, path);
  assertSize(path, size, MAX_LINES_BYTES);
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  const hold = (part: Uint8Array): void => {
    held.push(part);
    heldBytes += part.length;
    assertSize(`a line of ${path}`, heldBytes, MAX_TEXT_BYTES, path);
  };
  const take = (): string => {
    const line = decode(path, Buffer.concat(held));
    held = [];
    heldBytes = 0;
    return line;
  };
  for (let start = 0; start < size; start += PIECE_BYTES) {
    const piece = await source.read(path, { start, end: Math.min(start + PIECE_BYTES, size) });
    let from = 0;
    for (let at = piece.indexOf(NEWLINE); at !== -1; at = piece.indexOf(NEWLINE, from)) {
      hold(piece.subarray(from, at));
      yield take();
      from = at + 1;
    }
    hold(piece.subarray(from));
  }
  yield take();
}

async function sizeOf(source: BlobSource, path: string): Promise<number> {
  const size = await source.size(path);
  if (size !== null) return size;
  throw new ArmatureError('invalid_dataset', `the data set has no ${path}`, {
    field: path,
    fix: `Add ${path}; a data set of this format has it.`,
  });
}

function assertSize(what: string, bytes: number, most: number, path = what): void {
  if (bytes <= most) return;
  throw new ArmatureError(
    'payload_too_large',
    `${what} is larger than ${most / 2 ** 20} MiB, far more than a recording needs`,
    { field: path, fix: `Export the data set again: ${path} holds what does not belong there.` },
  );
}

function decode(path: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new ArmatureError('invalid_dataset', `${path} is no UTF-8 text`, {
      field: path,
      fix: `Write ${path} again as UTF-8.`,
      cause: error,
    });
  }
}
