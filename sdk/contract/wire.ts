import * as z from 'zod';
import { embodimentSpecSchema } from './embodiment.ts';
import { errorCodeSchema } from './errors.ts';
import { ndarraySchema } from './ndarray.ts';

/** WebSocket subprotocol of this dialect. */
export const ROBOT_SUBPROTOCOL = 'armature.v1';
/** Path of the robot endpoint on a serve worker. */
export const ROBOT_PATH = '/v1/robot';
/** Where a session is announced to its worker (POST with its token) before its robot connects. */
export const ALLOCATIONS_PATH = '/v1/allocations';
/** The address that a session is announced at, of the one that its robot connects to. */
export function announceUrl(sessionUrl: string): string {
  return new URL(ALLOCATIONS_PATH, sessionUrl.replace(/^ws/, 'http')).href;
}
/** Largest frame either side may send, in bytes. */
export const MAX_FRAME_BYTES = 8 * 1024 * 1024;

const bytes: z.ZodType<Uint8Array> = z.instanceof(Uint8Array, { error: 'must be bytes' });

/** An encoded JPEG, or raw pixels u8 [height, width, 3]; never both, whatever a later version adds. */
export const imageSchema = z.union(
  [
    z
      .looseObject({ jpeg: bytes })
      .refine((image) => !('pixels' in image))
      .transform(({ jpeg }) => ({ jpeg })),
    z
      .looseObject({ pixels: ndarraySchema })
      .refine((image) => !('jpeg' in image))
      .transform(({ pixels }) => ({ pixels })),
  ],
  { error: 'must be {jpeg: bytes} or {pixels: u8 array [height, width, 3]}' },
);
export type WireImage = z.infer<typeof imageSchema>;

/**
 * After so many chunks in a row that go on from one another the next one is free: a robot whose chunks have
 * locked into a way that fails gets out of it. Without it none is.
 */
const inARow = z.number().int().min(1).max(1000).optional();

/**
 * Real-time chunking: whether new chunks go on from the one in execution. `guided` pulls the sampled
 * chunk to what is left of that one: the actions that the delay takes are kept as they are, the hold
 * on the rest lets go by `schedule` (`exp` unless told; `zeros` at once, `ones` not at all). `pulled_back`
 * is `guided` with what it asks of the chunk taken back through the network in every denoising step, which
 * costs a backward pass each: for workers that have graphs for it, others refuse it. `trained`
 * samples behind the actions that the delay takes, which a policy version has to be trained for
 * (`prefix_delay_max` of its fine-tune): one that was not refuses it, and a delay longer than what it was
 * trained for is `guided` by `exp`, since a robot that moves needs its chunk.
 */
export const chunkingSchema = z.discriminatedUnion('mode', [
  z.strictObject({ mode: z.literal('off') }),
  z.strictObject({
    mode: z.enum(['guided', 'pulled_back']),
    schedule: z.enum(['exp', 'linear', 'zeros', 'ones']).optional(),
    max_in_a_row: inARow,
  }),
  z.strictObject({ mode: z.literal('trained'), max_in_a_row: inARow }),
]);
export type Chunking = z.infer<typeof chunkingSchema>;

/** Robot → worker: what the robot sees and feels, and what it has executed since. */
export const observationSchema = z.object({
  type: z.literal('observation'),
  /** Strictly increasing within an epoch. */
  seq: z.number().int().nonnegative(),
  /** Capture time on the robot's clock, ms since the Unix epoch. */
  captured_at: z.number(),
  images: z.record(z.string(), imageSchema),
  /** f32 [state dimension], in the spec's order and units. */
  state: ndarraySchema,
  instruction: z.string().max(2000).optional(),
  /** The last chunk that was executed, how many of its steps, and the command now in force. */
  executed: z
    .object({
      chunk_id: z.string(),
      steps: z.number().int().nonnegative(),
      /** f32 [action dimension]; given when the robot's own filters changed the command. */
      last_command: ndarraySchema.optional(),
    })
    .optional(),
  /** What the last chunk cost the robot: steps executed between its observation and its arrival. */
  delay: z
    .object({ steps: z.number().int().nonnegative(), latency_ms: z.number().nonnegative() })
    .optional(),
  /** From here on, until another is sent; `off` until one is. Needs `executed` and `delay`. */
  chunking: chunkingSchema.optional(),
  /**
   * Whether `reasoning` frames are wanted: from here on, until another is sent; none unless they are.
   * Workers that do not know of them leave them out.
   */
  reasoning_frames: z.boolean().optional(),
  /** In the first observation after a drain: what the worker that left gave along. */
  resume: z.string().max(65_536).optional(),
  /** The chunk is useless this long after capture; it is then dropped, never sent late. */
  deadline_ms: z.number().positive().optional(),
});
export type WireObservation = z.infer<typeof observationSchema>;

/** Robot → worker: a fresh session token on the same socket. */
export const refreshSchema = z.object({ type: z.literal('refresh'), token: z.string() });

/** Robot → worker: the session ends; the worker flushes its records and closes. */
export const byeSchema = z.object({ type: z.literal('bye') });

export const clientFrameSchema = z.discriminatedUnion('type', [
  observationSchema,
  refreshSchema,
  byeSchema,
]);
export type ClientFrame = z.infer<typeof clientFrameSchema>;

/** Worker → robot, first frame once the policy is ready. */
export const welcomeSchema = z.object({
  type: z.literal('welcome'),
  session_id: z.string(),
  epoch: z.number().int(),
  worker: z.string(),
  embodiment: embodimentSpecSchema,
  policy_version: z.string(),
  stats_hash: z.string(),
  preprocess_hash: z.string(),
  /** The ways of real-time chunking that this policy can be asked for; absent: none but `off`. */
  chunking: z.array(z.string()).optional(),
});

/** What a worker answers an announcement: the place that it keeps, and its policy is being fetched. */
export const allocationSchema = z.object({
  fence: z.number().int(),
  /** For how long the place is kept for the robot, ms. */
  reserved_ms: z.number(),
});
export type WorkerAllocation = z.infer<typeof allocationSchema>;

/** Worker → robot while a policy is being fetched and warmed. */
export const loadingSchema = z.object({ type: z.literal('loading'), message: z.string() });

export const chunkReasoningSchema = z.object({
  id: z.string(),
  text: z.string().optional(),
  /** Age of the observation that the reasoning saw, when this chunk was computed. */
  age_ms: z.number(),
});

/** Worker → robot: one action chunk. */
export const chunkSchema = z.object({
  type: z.literal('chunk'),
  /** `seq` of the observation it answers. */
  seq: z.number().int(),
  chunk_id: z.string(),
  epoch: z.number().int(),
  /** f32 [horizon, action dimension], absolute values in the spec's units. */
  actions: ndarraySchema,
  reasoning: chunkReasoningSchema.nullable(),
  policy_version: z.string(),
  stats_hash: z.string(),
  /** How many values the limits of the embodiment changed. */
  clamped: z.number().int(),
  timings: z.object({
    decode_ms: z.number(),
    queue_ms: z.number(),
    infer_ms: z.number(),
    total_ms: z.number(),
    /** Rows that shared the run. */
    batch: z.number().int(),
  }),
});
export type WireChunk = z.infer<typeof chunkSchema>;

/**
 * Worker → robot, where it was asked for: a reasoning that was made beside the chunks, as soon as it is
 * there; the chunks that it drives follow. One that is made in a chunk's own run comes with that chunk.
 */
export const reasoningFrameSchema = z.object({
  type: z.literal('reasoning'),
  id: z.string(),
  text: z.string(),
  epoch: z.number().int(),
  /** `seq` of the observation that it saw. */
  seq: z.number().int(),
  /** Age of that observation. */
  age_ms: z.number(),
});
export type WireReasoning = z.infer<typeof reasoningFrameSchema>;

/** Worker → robot: the worker is leaving; reconnect through the control plane. */
export const drainSchema = z.object({
  type: z.literal('drain'),
  reason: z.string(),
  /** For the first observation to the next worker: task and commands in force. */
  resume: z.string().optional(),
});

/** Worker → robot: a refused frame (`seq` when it was an observation); the session lives on. */
export const errorFrameSchema = z.object({
  type: z.literal('error'),
  code: errorCodeSchema,
  message: z.string(),
  field: z.string().optional(),
  fix: z.string().optional(),
  retryable: z.boolean(),
  seq: z.number().int().optional(),
});

export const serverFrameSchema = z.discriminatedUnion('type', [
  welcomeSchema,
  loadingSchema,
  chunkSchema,
  reasoningFrameSchema,
  drainSchema,
  errorFrameSchema,
]);
export type ServerFrame = z.infer<typeof serverFrameSchema>;
