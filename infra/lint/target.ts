import path from 'node:path';

/** Where an import leads: a place of this repository, a Node built-in, or a package. */
export type ImportTarget =
  | { readonly kind: 'ours'; readonly path: string; readonly relative: boolean }
  | { readonly kind: 'node'; readonly name: string }
  | { readonly kind: 'package'; readonly name: string };

const SCOPE = '@armature/';

/**
 * Resolves an import specifier as written in `file` (repository-relative, forward slashes).
 * `@armature/room/door` becomes `room/door`; the bare `@armature/sdk` is the client, `sdk/src`.
 */
export function importTarget(file: string, specifier: string): ImportTarget {
  if (specifier.startsWith('.')) {
    return {
      kind: 'ours',
      path: path.posix.join(path.posix.dirname(file), specifier),
      relative: true,
    };
  }
  if (specifier === '@armature/sdk')
    return { kind: 'ours', path: 'sdk/src/index.ts', relative: false };
  if (specifier.startsWith(SCOPE)) {
    return { kind: 'ours', path: specifier.slice(SCOPE.length), relative: false };
  }
  if (specifier.startsWith('node:')) return { kind: 'node', name: specifier.slice('node:'.length) };
  const [first = specifier, second] = specifier.split('/');
  const name = first.startsWith('@') && second !== undefined ? `${first}/${second}` : first;
  return { kind: 'package', name };
}

/** Whether `file` is `folder` or lies in it. */
export function isWithin(file: string, folder: string): boolean {
  return file === folder || file.startsWith(`${folder}/`);
}

/** Whether `file` lies in one of `folders`. */
export function isWithinAny(file: string, folders: readonly string[]): boolean {
  return folders.some((folder) => isWithin(file, folder));
}

/** Tests, test support and cross-room suites: they may look behind doors. */
export function isTest(file: string): boolean {
  return isWithin(file, 'test') || /\.(test|test-d|parity\.test)\.ts$/.test(file);
}
