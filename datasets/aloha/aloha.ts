import { ArmatureError } from '@armature/sdk/contract';
import type { Camera, Dataset, Episode, StillPicture } from '../dataset.ts';
import { type EpisodeFile, FilesDataset } from '../files-dataset.ts';
import { NOTES_PATH, readNotes, type RecordingNotes, taskOf } from '../recording-notes.ts';
import type { BlobSource } from '../source/blob-source.ts';
import { LocalCopies } from '../source/local-copies.ts';
import { declaredSize } from '../video/picture-size.ts';
import { broken, type Hdf5Array, Hdf5File } from './hdf5-file.ts';

const STATE = 'observations/qpos';
const ACTION = 'action';
const IMAGES = 'observations/images';
/** Rows of one episode: more than half an hour at 500 Hz. */
const MAX_ROWS = 1_000_000;
/** Bytes of one picture. */
const MAX_PICTURE_BYTES = 4096 * 4096 * 3;

/**
 * Opens a set of ALOHA recordings: one HDF5 file an episode with `observations/qpos`, `action` and
 * `observations/images/<camera>`, each picture as u8 [height, width, 3] (RGB) or as a JPEG padded
 * with zeros. `armature.json` says the rest.
 * @throws ArmatureError `invalid_dataset` naming the file and what it lacks.
 */
export async function openAloha(source: BlobSource, paths: readonly string[]): Promise<Dataset> {
  const notes = await readNotes(source, 'HDF5');
  const [stateNames, actionNames] = [namesOf(notes, 'state'), namesOf(notes, 'action')];
  const copies = new LocalCopies(source);
  const open = async (path: string): Promise<Hdf5File> =>
    await Hdf5File.open(await copies.path(path), path);
  try {
    const files: EpisodeFile[] = [];
    let cameras: Camera[] | undefined;
    for (const path of paths) {
      const described = await using(open(path), (file) => describe(file, path));
      cameras ??= described.cameras;
      files.push({
        path,
        length: described.length,
        task: taskOf(notes, path),
        read: () =>
          using(open(path), (file) => readNumbers(file, path, notes.fps, stateNames, actionNames)),
        pictures: (camera) => ({
          kind: 'pictures',
          name: `${path}/${IMAGES}/${camera.name}`,
          pictures: () => pictures(open(path), path, camera, notes.fps),
        }),
      });
    }
    const { robot_type: robotType, fps } = notes;
    const about = { format: 'aloha-hdf5', robotType, fps, stateNames, actionNames };
    return new FilesDataset({ ...about, cameras: cameras ?? [] }, files, () => copies.close());
  } catch (error) {
    await copies.close();
    throw error;
  }
}

function namesOf(notes: RecordingNotes, field: 'state' | 'action'): readonly string[] {
  const names = notes[field];
  if (Array.isArray(names)) return names;
  throw new ArmatureError('invalid_dataset', `${field} of ${NOTES_PATH} is a topic`, {
    field: `${NOTES_PATH}.${field}`,
    fix: `List the names of the dimensions of ${field}: HDF5 recordings have no topics.`,
  });
}

async function using<T>(opening: Promise<Hdf5File>, work: (file: Hdf5File) => T): Promise<T> {
  const file = await opening;
  try {
    return work(file);
  } finally {
    file.close();
  }
}

function describe(file: Hdf5File, path: string): { length: number; cameras: Camera[] } {
  const length = file.array(STATE).shape[0] ?? 0;
  if (length > MAX_ROWS) throw broken(path, `has ${length} rows, more than ${MAX_ROWS}`);
  const cameras = file.keys(IMAGES).map((name) => {
    const array = file.array(`${IMAGES}/${name}`);
    return { name, feature: `${IMAGES}/${name}`, ...pictureSize(array, path, name) };
  });
  return { length, cameras };
}

function pictureSize(
  array: Hdf5Array,
  path: string,
  camera: string,
): { width: number; height: number; codec: string | null } {
  const [rows = 0, second = 0, third = 0, channels] = array.shape;
  if (array.shape.length === 4 && channels === 3) {
    if (second * third * 3 > MAX_PICTURE_BYTES) {
      throw broken(path, `has pictures of ${third}×${second} pixels, which is too large`);
    }
    return { height: second, width: third, codec: null };
  }
  const first = array.shape.length === 2 && rows > 0 ? jpegOf(array, 0, path) : null;
  const size = first === null ? null : declaredSize('jpeg', first);
  if (size !== null) return { ...size, codec: 'mjpeg' };
  throw broken(
    path,
    `: ${IMAGES}/${camera} of shape [${array.shape.join(', ')}] holds neither RGB pictures nor JPEGs`,
  );
}

function jpegOf(array: Hdf5Array, row: number, path: string): Uint8Array {
  if ((array.shape[1] ?? 0) > MAX_PICTURE_BYTES)
    throw broken(path, 'has pictures that are too large');
  return bytesOf(array.rows(row, row + 1), path);
}

function bytesOf(values: Uint8Array | Float64Array, path: string): Uint8Array {
  if (values instanceof Uint8Array) return values;
  throw broken(path, 'has pictures that are no bytes');
}

function readNumbers(
  file: Hdf5File,
  path: string,
  fps: number,
  stateNames: readonly string[],
  actionNames: readonly string[],
): Pick<Episode, 'state' | 'action' | 'timestamps'> {
  const length = file.array(STATE).shape[0] ?? 0;
  const vectors = (name: string, names: readonly string[]): Float32Array => {
    const array = file.array(name);
    const [rows, width] = array.shape;
    if (array.shape.length !== 2 || rows !== length || width !== names.length) {
      throw broken(
        path,
        `: ${name} has the shape [${array.shape.join(', ')}], wanted are [${length}, ${names.length}]`,
      );
    }
    return Float32Array.from(array.rows(0, length));
  };
  return {
    state: vectors(STATE, stateNames),
    action: vectors(ACTION, actionNames),
    timestamps: Float32Array.from({ length }, (_, t) => t / fps),
  };
}

/** One picture after another; the file stays open in between. */
async function* pictures(
  opening: Promise<Hdf5File>,
  path: string,
  camera: Camera,
  fps: number,
): AsyncGenerator<StillPicture> {
  const file = await opening;
  try {
    const array = file.array(camera.feature);
    const isRaw = array.shape.length === 4;
    const { width, height } = camera;
    for (let t = 0; t < (array.shape[0] ?? 0); t += 1) {
      const bytes = isRaw ? bytesOf(array.rows(t, t + 1), path) : jpegOf(array, t, path);
      yield { seconds: t / fps, width, height, encoding: isRaw ? 'rgb8' : 'jpeg', bytes };
    }
  } finally {
    file.close();
  }
}
