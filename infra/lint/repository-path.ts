import path from 'node:path';

/** The linted file's path from the repository's root, with forward slashes. */
export function repositoryPath(context: {
  readonly cwd: string;
  readonly filename: string;
}): string {
  return path.relative(context.cwd, context.filename).split(path.sep).join('/');
}
