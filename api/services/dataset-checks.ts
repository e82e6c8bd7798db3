import {
  ArmatureError,
  type DatasetFile,
  isArchive,
  MAX_PLAN_PARTS,
  MAX_PUT_BYTES,
} from '@armature/sdk/contract';

/**
 * Refuses paths that cannot all be files of one folder, and archives.
 * @throws ArmatureError `invalid_request` naming `files[i].path`.
 */
export function checkPaths(files: readonly DatasetFile[]): void {
  const paths = new Set<string>();
  const folders = new Map<string, string>();
  files.forEach(({ path }, index) => {
    const field = `files[${index}].path`;
    const segments = path.split('/');
    if (segments.some((segment) => segment === '' || segment === '.')) {
      throw badPath(field, `${path} has an empty or . segment`);
    }
    if (isArchive(path)) throw archive(field, path);
    if (paths.has(path)) throw badPath(field, `${path} occurs twice`);
    paths.add(path);
    for (let depth = 1; depth < segments.length; depth++) {
      folders.set(segments.slice(0, depth).join('/'), path);
    }
  });
  files.forEach(({ path }, index) => {
    const below = folders.get(path);
    if (below !== undefined) {
      throw badPath(`files[${index}].path`, `${path} is also a folder of ${below}`);
    }
  });
}

/**
 * Refuses parts that are not the whole of their file, or that the store does not take.
 * @param minPartBytes of every part but the last of a file.
 * @throws ArmatureError `invalid_request` naming `files[i].parts`, or `files` for too many of them.
 */
export function checkParts(files: readonly DatasetFile[], minPartBytes: number): void {
  let count = 0;
  files.forEach(({ path, size, parts }, index) => {
    const field = `files[${index}].parts`;
    if (parts === undefined) {
      if (size <= MAX_PUT_BYTES) return;
      throw badParts(field, `${path} has more than 5 GiB and no parts`);
    }
    count += parts.length;
    const sum = parts.reduce((bytes, part) => bytes + part.size, 0);
    if (sum !== size) throw badParts(field, `those of ${path} have ${sum} bytes, it has ${size}`);
    const short = parts.slice(0, -1).findIndex((part) => part.size < minPartBytes);
    if (short >= 0) {
      throw badParts(
        `${field}[${short}].size`,
        `all parts but the last need ${minPartBytes} bytes`,
      );
    }
  });
  if (count > MAX_PLAN_PARTS) {
    throw badParts('files', `${count} parts are more than ${MAX_PLAN_PARTS}`);
  }
}

function archive(field: string, path: string): ArmatureError {
  return new ArmatureError('invalid_request', `${field}: ${path} is an archive`, {
    field,
    fix: `Unpack ${path} and upload the files that it holds.`,
  });
}

function badPath(field: string, message: string): ArmatureError {
  return new ArmatureError('invalid_request', `${field}: ${message}`, {
    field,
    fix: 'Name every file once, by its path inside the set.',
  });
}

function badParts(field: string, message: string): ArmatureError {
  return new ArmatureError('invalid_request', `${field}: ${message}`, {
    field,
    fix: 'Split the file anew, into larger parts that follow each other.',
  });
}
