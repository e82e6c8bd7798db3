import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { ArmatureError } from '@armature/sdk/contract';
import type { File } from 'h5wasm';

type Library = typeof import('h5wasm');

/** Bytes of one chunk of an array after decompression, all of which the library holds at once. */
const MAX_CHUNK_BYTES = 64 << 20;

let opened = 0;

/**
 * An HDF5 file, read in place. The library sees a file system of its own in which this one file
 * lies and nothing else: links and storage of other files, which HDF5 would follow, lead nowhere.
 */
export class Hdf5File {
  readonly #name: string;
  readonly #library: Library;
  readonly #file: File;
  readonly #descriptor: number;
  readonly #mount: string;

  private constructor(
    name: string,
    library: Library,
    file: File,
    descriptor: number,
    mount: string,
  ) {
    this.#name = name;
    this.#library = library;
    this.#file = file;
    this.#descriptor = descriptor;
    this.#mount = mount;
  }

  /**
   * @param path local file @param name its name in the set, for messages
   * @throws ArmatureError `invalid_dataset` when it is no HDF5.
   */
  static async open(path: string, name: string): Promise<Hdf5File> {
    // Its 10 MB are loaded by the first set that needs them.
    const library = await import('h5wasm');
    const module = await library.ready;
    // Errors are thrown and not printed.
    module.activate_throwing_error_handler();
    const descriptor = openSync(path, 'r');
    const mount = `/set-${(opened += 1)}.h5`;
    try {
      mountReadOnly(library, mount, descriptor);
      const file = new library.File(mount, 'r');
      return new Hdf5File(name, library, file, descriptor, mount);
    } catch (cause) {
      closeSync(descriptor);
      library.FS?.unlink(mount);
      closeErrorFiles(library);
      throw broken(name, 'is no readable HDF5 file', cause);
    }
  }

  /** Names below a group; empty when there is no such group. */
  keys(path: string): string[] {
    return this.#guard(() => {
      const entity = this.#file.get(path);
      return entity !== null && 'keys' in entity ? entity.keys() : [];
    });
  }

  /**
   * A data set's shape and how to read rows of it.
   * @throws ArmatureError `invalid_dataset` when it is not there or has no shape.
   */
  array(path: string): Hdf5Array {
    return this.#guard(() => {
      const entity = this.#file.get(path);
      const { Dataset } = this.#library;
      const shape = entity instanceof Dataset ? entity.shape : null;
      if (!(entity instanceof Dataset) || shape === null || shape.length === 0) {
        throw broken(this.#name, `has no array ${path}`);
      }
      const { chunks, size } = entity.metadata;
      if ((chunks ?? []).reduce((product, side) => product * side, size) > MAX_CHUNK_BYTES) {
        throw broken(this.#name, `keeps ${path} in chunks of more than ${MAX_CHUNK_BYTES} bytes`);
      }
      const rest = shape.slice(1).map((): [] => []);
      return {
        shape,
        rows: (start, end) =>
          this.#guard(() => toBytesOrNumbers(entity.slice([[start, end], ...rest]))),
      };
    });
  }

  close(): void {
    this.#file.close();
    this.#library.FS?.unlink(this.#mount);
    closeSync(this.#descriptor);
  }

  /** What the library throws is about the file: it knows no other errors. */
  #guard<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (error instanceof ArmatureError) throw error;
      closeErrorFiles(this.#library);
      throw broken(this.#name, 'cannot be read', error);
    }
  }
}

/** The library writes each error into a temporary file of its memory and leaves it open. */
function closeErrorFiles({ FS }: Library): void {
  const streams = (FS as unknown as { streams: ({ path: string } | null | undefined)[] }).streams;
  for (const stream of streams) {
    if (stream?.path.startsWith('/tmp/') === true) FS?.close(stream);
  }
}

export interface Hdf5Array {
  readonly shape: readonly number[];
  /** Rows `start` to before `end`, row-major. */
  rows(start: number, end: number): Uint8Array | Float64Array;
}

function toBytesOrNumbers(values: unknown): Uint8Array | Float64Array {
  if (values instanceof Uint8Array) return values;
  if (ArrayBuffer.isView(values) && Symbol.iterator in values) {
    return Float64Array.from(values as unknown as Iterable<number | bigint>, Number);
  }
  throw new TypeError('it has values that are no numbers');
}

interface FileNode {
  usedBytes: number;
  stream_ops: object;
}

/** A file of the library's own file system, whose bytes come from an open descriptor. */
function mountReadOnly({ FS }: Library, mount: string, descriptor: number): void {
  if (FS === null) throw new TypeError('the library has no file system');
  FS.writeFile(mount, new Uint8Array(0));
  const node = FS.lookupPath(mount, {}).node as unknown as FileNode;
  node.usedBytes = fstatSync(descriptor).size;
  node.stream_ops = {
    ...node.stream_ops,
    read: (_stream: unknown, buffer: Uint8Array, offset: number, length: number, at: number) =>
      readSync(descriptor, buffer, offset, length, at),
  };
}

export function broken(name: string, problem: string, cause?: unknown): ArmatureError {
  return new ArmatureError('invalid_dataset', `${name} ${problem}`, {
    field: name,
    fix: `Record or export ${name} again.`,
    cause,
  });
}
