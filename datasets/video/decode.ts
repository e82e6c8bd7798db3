// The low-level API alone: the high-level one needs Promise.withResolvers, which Node 20 lacks.
import {
  Codec,
  CodecContext,
  FormatContext,
  Frame,
  IOContext,
  Packet,
  type Stream,
} from 'node-av/lib';
import {
  AVERROR_EAGAIN,
  AVERROR_EOF,
  AV_CODEC_ID_MJPEG,
  AVMEDIA_TYPE_VIDEO,
  AVSEEK_CUR,
  AVSEEK_FLAG_BACKWARD,
  AVSEEK_END,
  AVSEEK_SET,
  AVSEEK_SIZE,
  AV_NOPTS_VALUE,
} from 'node-av/constants';
import './ffmpeg-log.ts';
import { throwIfCancelled } from '../cancel.ts';
import type { VideoClip, VideoInput } from '../dataset.ts';
import { damaged } from './damaged.ts';
import { decodePictures } from './decode-pictures.ts';
import { assertScans } from './jpeg-scans.ts';
import { assertPictureSize } from './picture-size.ts';

/** Bytes of one read of a video that is not a local file. */
const READ_BYTES = 256 * 1024;

export interface VideoFrames {
  readonly signal?: AbortSignal;
  /** Decoder threads; 2 when absent. */
  readonly threads?: number;
  /** Stops after this many pictures, however many more the video has. */
  readonly limit?: number;
  /** Takes a decoded picture; it is valid until the returned promise settles. */
  onFrame(picture: Picture): void | Promise<void>;
}

export interface Picture {
  readonly index: number;
  /** Presentation time in seconds since the first picture, or since the clip's start. */
  readonly seconds: number;
  readonly frame: Frame;
}

/**
 * Decodes every picture of the first video stream, or of its clip, in order of presentation, and
 * returns how many there were. AV1 goes through libdav1d; whatever else FFmpeg decodes works too.
 * @throws ArmatureError `invalid_dataset` when it is no video or is damaged, `cancelled`.
 */
export async function decodeVideo(input: VideoInput, frames: VideoFrames): Promise<number> {
  if (input.kind === 'pictures') return await decodePictures(input, frames);
  const format = new FormatContext();
  const io = input.kind === 'ranges' ? rangeReader(input) : null;
  const codec = new CodecContext();
  const packet = new Packet();
  const frame = new Frame();
  try {
    format.allocContext();
    if (io !== null) format.pb = io;
    check(
      await format.openInput(input.kind === 'file' ? input.path : ''),
      input.name,
      'is no video',
    );
    // Of what it has to guess it decodes the first pictures, before they can be looked at here.
    if (!format.streams.some(isMjpeg)) {
      check(await format.findStreamInfo(), input.name, 'has no readable stream');
    }
    const streamIndex = format.findBestStream(AVMEDIA_TYPE_VIDEO);
    const stream = format.streams[streamIndex];
    if (stream === undefined) throw damaged(input.name, 'has no video stream');
    const decoder = Codec.findDecoder(stream.codecpar.codecId);
    if (decoder === null) throw damaged(input.name, 'uses a codec that is not supported');
    codec.allocContext3(decoder);
    assertPictureSize(input.name, stream.codecpar);
    check(codec.parametersToContext(stream.codecpar), input.name, 'has broken parameters');
    codec.threadCount = frames.threads ?? 2;
    check(await codec.open2(decoder), input.name, 'cannot be decoded');
    packet.alloc();
    frame.alloc();

    const { num, den } = stream.timeBase;
    const { clip } = input;
    let count = 0;
    let ended = false;
    let first: bigint | null = null;
    if (clip !== undefined) {
      // Clip times count from the start of the file's own time line.
      first = stream.startTime === AV_NOPTS_VALUE ? 0n : stream.startTime;
      const at = first + BigInt(Math.max(0, Math.floor((startOf(clip) * den) / num)));
      check(
        await format.seekFrame(streamIndex, at, AVSEEK_FLAG_BACKWARD),
        input.name,
        `has nothing at ${clip.from} s`,
      );
    }
    const drain = async (): Promise<void> => {
      while (!ended) {
        const status = codec.receiveFrameSync(frame);
        if (status === AVERROR_EAGAIN || status === AVERROR_EOF) return;
        check(status, input.name, `is damaged after frame ${count - 1}`);
        const pts = frame.bestEffortTimestamp;
        first ??= pts;
        const seconds = (Number(pts - first) * num) / den;
        ended = clip !== undefined && seconds >= endOf(clip);
        if (!ended && (clip === undefined || seconds >= startOf(clip))) {
          await frames.onFrame({ index: count, seconds: seconds - (clip?.from ?? 0), frame });
          count += 1;
          ended = count === frames.limit;
        }
        frame.unref();
      }
    };
    while (!ended) {
      throwIfCancelled(frames.signal);
      const status = await format.readFrame(packet);
      if (status === AVERROR_EOF) break;
      check(status, input.name, `is damaged after frame ${count - 1}`);
      if (packet.streamIndex === streamIndex) {
        if (isMjpeg(stream)) assertScans(input.name, packet.data ?? new Uint8Array(0));
        check(await codec.sendPacket(packet), input.name, `is damaged after frame ${count - 1}`);
        await drain();
      }
      packet.unref();
    }
    check(await codec.sendPacket(null), input.name, 'is damaged at its end');
    await drain();
    return count;
  } finally {
    frame.free();
    packet.free();
    codec.freeContext();
    await format.closeInput();
    io?.freeContext();
  }
}

/** FFmpeg's reads and seeks over a file that is read in ranges. */
function rangeReader(input: Extract<VideoInput, { kind: 'ranges' }>): IOContext {
  const io = new IOContext();
  let position = 0;
  io.allocContextWithCallbacks(
    READ_BYTES,
    0,
    async (size) => {
      if (position >= input.size) return AVERROR_EOF;
      const end = Math.min(position + size, input.size);
      const bytes = await input.read({ start: position, end });
      if (bytes.length === 0) return AVERROR_EOF;
      position += bytes.length;
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    },
    null,
    (offset, whence) => {
      if (whence === AVSEEK_SIZE) return input.size;
      if (whence === AVSEEK_SET) position = Number(offset);
      else if (whence === AVSEEK_CUR) position += Number(offset);
      else if (whence === AVSEEK_END) position = input.size + Number(offset);
      return position;
    },
  );
  return io;
}

function check(status: number, name: string, problem: string): void {
  if (status < 0) throw damaged(name, problem, status);
}

const isMjpeg = (stream: Stream): boolean => stream.codecpar.codecId === AV_CODEC_ID_MJPEG;
const startOf = (clip: VideoClip): number => clip.from - 0.5 / clip.fps;
const endOf = (clip: VideoClip): number => clip.to - 0.5 / clip.fps;
