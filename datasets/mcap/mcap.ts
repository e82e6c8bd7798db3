import { ArmatureError } from '@armature/sdk/contract';
import type { Camera, Dataset, StillPicture } from '../dataset.ts';
import { type EpisodeFile, FilesDataset } from '../files-dataset.ts';
import {
  NOTES_PATH,
  readNotes,
  type RecordingNotes,
  taskOf,
  type VectorTopic,
} from '../recording-notes.ts';
import type { BlobSource } from '../source/blob-source.ts';
import { broken, McapFile } from './mcap-file.ts';
import { numbersAt } from './messages.ts';
import { pictureOf } from './picture-message.ts';
import { commonGrid, type Grid, holdLatest } from './resample.ts';

/** Frames of one episode. */
const MAX_FRAMES = 1_000_000;

/**
 * Opens a set of MCAP recordings, one file an episode. `armature.json` names the topics of state,
 * action and cameras; what they say is taken at the set's rate from the moment at which all have
 * spoken, each point with the newest message by then.
 * @throws ArmatureError `invalid_dataset` naming the file, the topic and what is wrong with it.
 */
export async function openMcap(source: BlobSource, paths: readonly string[]): Promise<Dataset> {
  const notes = await readNotes(source, 'MCAP');
  const [state, action] = [topicOf(notes, 'state'), topicOf(notes, 'action')];
  const topics = Object.entries(notes.cameras ?? {});
  const files: EpisodeFile[] = [];
  let cameras: Camera[] | undefined;
  for (const path of paths) {
    const file = await McapFile.open(source, path);
    const grid = await gridOf(file, path, notes, [
      state.topic,
      action.topic,
      ...topics.map(([, topic]) => topic),
    ]);
    if (cameras === undefined) {
      cameras = [];
      for (const [name, topic] of topics) cameras.push(await cameraOf(file, path, name, topic));
    }
    files.push({
      path,
      length: grid.length,
      task: taskOf(notes, path),
      read: async () => {
        const timestamps = Float32Array.from({ length: grid.length }, (_, t) => t / grid.fps);
        const again = await McapFile.open(source, path);
        return {
          state: await vectors(again, path, state, grid),
          action: await vectors(again, path, action, grid),
          timestamps,
        };
      },
      pictures: (camera) => ({
        kind: 'pictures',
        name: `${path}:${camera.feature}`,
        pictures: () => pictures(source, path, camera, grid),
      }),
    });
  }
  const about = {
    format: 'mcap',
    robotType: notes.robot_type,
    fps: notes.fps,
    stateNames: state.names,
    actionNames: action.names,
    cameras: cameras ?? [],
  };
  // Files are read in ranges: there is nothing to give back.
  return new FilesDataset(about, files, () => Promise.resolve());
}

function topicOf(notes: RecordingNotes, field: 'state' | 'action'): VectorTopic {
  const topic = notes[field];
  if (!Array.isArray(topic)) return topic;
  throw new ArmatureError('invalid_dataset', `${field} of ${NOTES_PATH} names no topic`, {
    field: `${NOTES_PATH}.${field}`,
    fix: `Give ${field} a topic, the field of its messages and the names of its values.`,
  });
}

async function gridOf(
  file: McapFile,
  path: string,
  notes: RecordingNotes,
  topics: readonly string[],
): Promise<Grid> {
  const spans = [];
  for (const topic of new Set(topics)) {
    const [first, last] = [
      await firstOf(file.messages(topic)),
      await firstOf(file.messages(topic, 'backwards')),
    ];
    if (first === null || last === null) throw broken(path, `has no message of ${topic}`);
    spans.push({ first: first.logTime, last: last.logTime });
  }
  const grid = commonGrid(spans, notes.fps);
  if (grid.length <= MAX_FRAMES) return grid;
  throw broken(path, `has ${grid.length} frames at ${notes.fps} Hz, more than ${MAX_FRAMES}`);
}

async function cameraOf(
  file: McapFile,
  path: string,
  name: string,
  topic: string,
): Promise<Camera> {
  const first = await firstOf(file.messages(topic));
  const { width, height, encoding } = named(path, topic, () => pictureOf(first?.value));
  const codec = encoding === 'jpeg' ? 'mjpeg' : encoding === 'png' ? 'png' : null;
  return { name, feature: topic, width, height, codec };
}

async function vectors(
  file: McapFile,
  path: string,
  { topic, field, names }: VectorTopic,
  grid: Grid,
): Promise<Float32Array> {
  const values = new Float32Array(grid.length * names.length);
  for await (const { t, value } of holdLatest(file.messages(topic), grid)) {
    const row = numbersAt(value, field);
    if (row?.length !== names.length) {
      throw broken(
        path,
        `: ${field} of ${topic} has ${row === null ? 'no' : row.length} numbers, ${NOTES_PATH} names ${names.length}`,
      );
    }
    values.set(row, t * names.length);
  }
  return values;
}

async function* pictures(
  source: BlobSource,
  path: string,
  camera: Camera,
  grid: Grid,
): AsyncGenerator<StillPicture> {
  const file = await McapFile.open(source, path);
  for await (const { t, value } of holdLatest(file.messages(camera.feature), grid)) {
    const picture = named(path, camera.feature, () => pictureOf(value));
    yield { seconds: t / grid.fps, ...picture };
  }
}

/** What is wrong with a message, with the file and topic that it is of. */
function named<T>(path: string, topic: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw broken(path, `has a message of ${topic} that is no picture: ${reason}`, cause);
  }
}

async function firstOf<T>(values: AsyncIterable<T>): Promise<T | null> {
  for await (const value of values) return value;
  return null;
}
