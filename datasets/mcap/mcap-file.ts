import { McapIndexedReader, type McapTypes } from '@mcap/core';
import { ArmatureError } from '@armature/sdk/contract';
import type { BlobSource } from '../source/blob-source.ts';
import { zstdExactly } from '../zstd.ts';
import { messageReader, type ReadMessage } from './messages.ts';

/** Bytes of one chunk after decompression; recorders make chunks of a few MiB. */
const MAX_CHUNK_BYTES = 256 << 20;
/** Bytes of the index of a file. */
const MAX_INDEX_BYTES = 64 << 20;

/** A message of a topic: when it was logged, in ns, and what it says. */
export interface TopicMessage {
  readonly logTime: bigint;
  readonly value: unknown;
}

/** An MCAP file with an index, read in ranges: a chunk at a time is in memory. */
export class McapFile {
  readonly #name: string;
  readonly #reader: McapIndexedReader;
  readonly #readers = new Map<number, ReadMessage>();

  private constructor(name: string, reader: McapIndexedReader) {
    this.#name = name;
    this.#reader = reader;
  }

  /** @throws ArmatureError `invalid_dataset` when it is no MCAP, has no index or is too large. */
  static async open(source: BlobSource, path: string): Promise<McapFile> {
    const size = await source.size(path);
    if (size === null) throw broken(path, 'is not there');
    const bounded = (bytes: bigint): number => {
      if (bytes <= BigInt(MAX_CHUNK_BYTES)) return Number(bytes);
      throw broken(path, `has a chunk of ${bytes.toString()} bytes, more than ${MAX_CHUNK_BYTES}`);
    };
    const readable: McapTypes.IReadable = {
      size: async () => BigInt(size),
      read: async (offset, length) => {
        const start = Number(offset);
        const end = start + Number(length);
        if (end > size) throw broken(path, 'ends before what its index names');
        return await source.read(path, { start, end });
      },
    };
    try {
      await checkIndexSize(readable, size, path);
      const reader = await McapIndexedReader.Initialize({
        readable,
        decompressHandlers: {
          zstd: (bytes, length) => zstdExactly(bytes, bounded(length)),
        },
      });
      for (const { uncompressedSize, chunkLength } of reader.chunkIndexes) {
        bounded(uncompressedSize);
        bounded(chunkLength);
      }
      return new McapFile(path, reader);
    } catch (error) {
      throw asFault(path, error);
    }
  }

  /**
   * Messages of one topic in the order of their log times, or backwards.
   * @throws ArmatureError `invalid_dataset` for a topic that is not there or cannot be decoded.
   */
  async *messages(
    topic: string,
    order: 'forwards' | 'backwards' = 'forwards',
  ): AsyncGenerator<TopicMessage> {
    const channels = [...this.#reader.channelsById.values()].filter(
      (channel) => channel.topic === topic,
    );
    if (channels.length === 0) {
      const topics = [...this.#reader.channelsById.values()].map((channel) => channel.topic);
      throw broken(this.#name, `has no topic ${topic}; it has ${topics.join(', ') || 'none'}`);
    }
    const reverse = order === 'backwards';
    try {
      for await (const message of this.#reader.readMessages({ topics: [topic], reverse })) {
        const read = this.#readerOf(message.channelId);
        yield { logTime: message.logTime, value: read(message.data) };
      }
    } catch (error) {
      throw asFault(this.#name, error);
    }
  }

  #readerOf(channelId: number): ReadMessage {
    const known = this.#readers.get(channelId);
    if (known !== undefined) return known;
    const channel = this.#reader.channelsById.get(channelId);
    if (channel === undefined) throw broken(this.#name, 'has messages of no channel');
    const schema = this.#reader.schemasById.get(channel.schemaId);
    const made = messageReader(channel, schema);
    this.#readers.set(channelId, made);
    return made;
  }
}

/** The footer says where the index starts; all of it is read at once. */
async function checkIndexSize(
  readable: McapTypes.IReadable,
  size: number,
  path: string,
): Promise<void> {
  // Footer record (opcode, length, three fields) and magic: 37 bytes from the end.
  if (size < 45) throw broken(path, 'is no readable MCAP file');
  const bytes = await readable.read(BigInt(size - 28), 8n);
  const start = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (start !== 0n && BigInt(size) - start > BigInt(MAX_INDEX_BYTES)) {
    throw broken(path, `has an index of more than ${MAX_INDEX_BYTES} bytes`);
  }
}

function asFault(path: string, error: unknown): ArmatureError {
  if (error instanceof ArmatureError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return broken(path, `is no readable MCAP file: ${reason}`, error);
}

export function broken(path: string, problem: string, cause?: unknown): ArmatureError {
  return new ArmatureError('invalid_dataset', `${path} ${problem}`, {
    field: path,
    fix: `Record ${path} again, or run mcap recover on it.`,
    cause,
  });
}
