import { ArmatureError } from '@armature/sdk/contract';

/** @throws ArmatureError `invalid_dataset` naming the file when it is no JSON. */
export function parseJson(text: string, path: string, line?: number): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const where = line === undefined ? path : `${path} line ${line}`;
    throw new ArmatureError('invalid_dataset', `${where} is no valid JSON`, {
      field: path,
      fix: `Write ${path} again.`,
      cause: error,
    });
  }
}
