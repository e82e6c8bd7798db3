import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import {
  ArmatureError,
  clientFrameSchema,
  embodimentSpecSchema,
  encodeFrame,
  errorCodes,
  Ndarray,
  parseClientFrame,
  parseServerFrame,
  problemSchema,
  readerOf,
  routes,
  serverFrameSchema,
  sessionClaimsSchema,
} from './index.ts';

const float = Ndarray.float32(Float32Array.of(0));
const spec = {
  name: 'arm',
  control_hz: 20,
  horizon: 8,
  state: [{ name: 'a', unit: 'rad' }],
  action: [
    { name: 'a', unit: 'rad', group: 'arm', min: -1, max: 1, max_velocity: 1, max_acceleration: 1 },
  ],
  references: { arm: 'absolute' },
  cameras: [{ name: 'eye', kind: 'external', width: 8, height: 8 }],
  on_violation: 'clamp',
  when_starved: 'hold',
};
const observation = {
  type: 'observation',
  seq: 0,
  captured_at: 1,
  images: {
    eye: { jpeg: Uint8Array.of(0xff, 0xd8) },
    wrist: { pixels: Ndarray.uint8(new Uint8Array(3), [1, 1, 3]) },
  },
  state: float,
  instruction: 'lift',
  executed: { chunk_id: 'c', steps: 1, last_command: float },
  delay: { steps: 2, latency_ms: 80 },
  chunking: { mode: 'guided', schedule: 'exp', max_in_a_row: 3 },
  reasoning_frames: true,
  resume: 'token',
  deadline_ms: 400,
};
const fromRobots = [
  observation,
  { ...observation, chunking: { mode: 'trained', max_in_a_row: 3 } },
  { ...observation, chunking: { mode: 'off' } },
  { type: 'refresh', token: 't' },
  { type: 'bye' },
];
const fromWorkers = [
  {
    type: 'welcome',
    session_id: 's',
    epoch: 1,
    worker: 'w',
    embodiment: spec,
    policy_version: 'p',
    stats_hash: 'h',
    preprocess_hash: 'h',
    chunking: ['off'],
  },
  { type: 'loading', message: 'm' },
  {
    type: 'chunk',
    seq: 0,
    chunk_id: 'c',
    epoch: 1,
    actions: Ndarray.float32(new Float32Array(8), [8, 1]),
    reasoning: { id: 'r', text: 'reach', age_ms: 1 },
    policy_version: 'p',
    stats_hash: 'h',
    clamped: 0,
    timings: { decode_ms: 1, queue_ms: 1, infer_ms: 1, total_ms: 1, batch: 1 },
  },
  { type: 'reasoning', id: 'r', text: 'reach', epoch: 1, seq: 0, age_ms: 1 },
  { type: 'drain', reason: 'deploy', resume: 'token' },
  { type: 'error', code: 'internal', message: 'm', field: 'f', fix: 'x', retryable: true, seq: 0 },
];
const limits = { max_in_flight: 2, max_hz: 20, share: 1 };
const reasonings = [
  { when: 'every_chunk' },
  { when: 'interval', ms: 300 },
  { when: 'instruction_change' },
  { when: 'change', scene: 0.1 },
  { when: 'off' },
];
const claims = reasonings.map((reasoning) => ({
  sub: 'ses_1',
  tenant: 'ten_1',
  robot: 'r',
  worker: 'w',
  embodiment: { id: 'emb_1', spec },
  policy: { version_id: 'pv_1', digest: 'd', prefix: 'p' },
  sampler: { steps: 4, noise_scale: 0 },
  reasoning,
  epoch: 0,
  limits,
}));
const grant = {
  session: {
    id: 'ses_1',
    robot: 'r',
    embodiment_id: 'emb_1',
    policy_version_id: 'pv_1',
    epoch: 0,
    created_at: '2026-01-01T00:00:00.000Z',
    ended_at: null,
  },
  url: 'ws://w',
  announce_url: 'http://w',
  token: 't',
  token_expires_at: '2026-01-01T00:10:00.000Z',
  embodiment: spec,
};
const grantSchema = routes['sessions.create'].output;

/** What a later version adds. */
const added = { a_field_of_a_later_version: { nested: [1, 'two'] } };

/** Optional fields of objects that were met, but for those that were seen in one. */
class Unseen {
  private readonly left = new Map<z.core.$ZodType, Set<string>>();

  met(schema: z.core.$ZodType, keys: readonly string[], value: object): void {
    const missing = keys.filter((key) => !(key in value));
    const before = this.left.get(schema);
    this.left.set(schema, new Set(missing.filter((key) => before?.has(key) ?? true)));
  }

  get names(): string[] {
    return [...this.left.values()].flatMap((keys) => [...keys]);
  }
}

/** The value as a later version writes it: a field more in every object that its schema has, at every depth. */
function later(schema: z.core.$ZodType, value: unknown, unseen: Unseen): unknown {
  const { def } = (schema as z.core.$ZodTypes)._zod;
  switch (def.type) {
    case 'object': {
      const given = value as Record<string, unknown>;
      unseen.met(schema, Object.keys(def.shape), given);
      const fields = Object.entries(given).map(([key, field]) => {
        const inner = def.shape[key];
        return [key, inner === undefined ? field : later(inner, field, unseen)];
      });
      return { ...Object.fromEntries(fields), ...added };
    }
    case 'array':
      return (value as unknown[]).map((item) => later(def.element, item, unseen));
    case 'record':
      return Object.fromEntries(
        Object.entries(value as object).map(([key, item]) => [
          key,
          later(def.valueType, item, unseen),
        ]),
      );
    case 'union': {
      const fits = def.options.find((option) => z.safeParse(option, value).success);
      if (fits === undefined) throw new Error('the example fits no option');
      return later(fits, value, unseen);
    }
    case 'pipe':
      return later(def.in, value, unseen);
    case 'optional':
    case 'nullable':
    case 'default':
      return value === null ? null : later(def.innerType, value, unseen);
    default:
      return value;
  }
}

function expectRead(
  schema: z.core.$ZodType,
  examples: readonly unknown[],
  read: (value: unknown) => unknown,
): void {
  const unseen = new Unseen();
  for (const example of examples) {
    const written = later(schema, example, unseen);
    expect(written).not.toEqual(example);
    expect(read(written)).toEqual(example);
  }
  // No field is left out of the examples, so none of what nests is.
  expect(unseen.names).toEqual([]);
}

describe('what a later version wrote, with fields more at every depth, is read', () => {
  it('by a worker: frames', () => {
    expectRead(clientFrameSchema, fromRobots, (frame) => parseClientFrame(encodeFrame(frame)));
  });

  it('by a worker: claims', () => {
    expectRead(sessionClaimsSchema, claims, (value) => sessionClaimsSchema.parse(value));
  });

  it('by a robot: frames', () => {
    expectRead(serverFrameSchema, fromWorkers, (frame) => parseServerFrame(encodeFrame(frame)));
  });

  it('by a robot: grants', () => {
    expectRead(grantSchema, [grant], (value) => readerOf(grantSchema).parse(value));
  });
});

describe('an error of a later version', () => {
  it('is an internal one that says itself whether it may be tried again', () => {
    for (const retryable of [true, false]) {
      const frame = { type: 'error', code: 'overheated', message: 'm', retryable, seq: 3 };
      expect(parseServerFrame(encodeFrame(frame))).toEqual({ ...frame, code: 'internal' });
    }
    expect(() => parseServerFrame(encodeFrame({ type: 'error', code: 7, message: 'm' }))).toThrow(
      /code/,
    );
  });

  it('of the control plane may be tried again where its status says so', () => {
    const problem = { type: 't', title: 't', code: 'overheated', detail: 'd', request_id: 'r' };
    const read = (status: number) =>
      ArmatureError.fromProblem(readerOf(problemSchema).parse({ ...problem, status }));
    expect(read(422)).toMatchObject({ code: 'internal', status: 422, retryable: false });
    expect(read(429)).toMatchObject({ code: 'internal', status: 429, retryable: true });
    expect(read(503)).toMatchObject({ code: 'internal', status: 503, retryable: true });
  });

  it('that is known keeps what its code says', () => {
    for (const code of Object.keys(errorCodes) as (keyof typeof errorCodes)[]) {
      const error = new ArmatureError(code, 'm');
      const read = ArmatureError.fromProblem(
        readerOf(problemSchema).parse(error.toProblem('req_1')),
      );
      expect(read).toMatchObject({ code, ...errorCodes[code] });
    }
  });
});

describe('a writer', () => {
  it('may invent nothing: a misspelt field is refused by name', () => {
    expect(embodimentSpecSchema.safeParse(spec).success).toBe(true);
    expect(embodimentSpecSchema.safeParse({ ...spec, ...added }).success).toBe(false);
    const joint = { ...spec.state[0], ...added };
    expect(embodimentSpecSchema.safeParse({ ...spec, state: [joint] }).success).toBe(false);
    expect(problemSchema.safeParse({ code: 'overheated' }).success).toBe(false);
  });
});

describe('a reader', () => {
  it('still refuses what does not fit together', () => {
    const [welcome] = fromWorkers;
    const embodiment = { ...spec, references: {} };
    expect(() => parseServerFrame(encodeFrame({ ...welcome, embodiment }))).toThrow(/reference/);
    const both = { jpeg: Uint8Array.of(1), pixels: float };
    expect(() => parseClientFrame(encodeFrame({ ...observation, images: { eye: both } }))).toThrow(
      /must be \{jpeg: bytes\} or/,
    );
  });
});
