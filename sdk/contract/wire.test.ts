import { describe, expect, it } from 'vitest';
import {
  checkClientFrame,
  checkServerFrame,
  encodeFrame,
  Ndarray,
  parseClientFrame,
  parseServerFrame,
  routes,
  type ClientFrame,
  type ServerFrame,
} from './index.ts';

const spec = {
  name: 'arm',
  control_hz: 20,
  horizon: 8,
  state: [{ name: 'a', unit: 'rad' }],
  action: [{ name: 'a', unit: 'rad', group: 'arm', min: -1, max: 1 }],
  references: { arm: 'absolute' },
  cameras: [{ name: 'eye', kind: 'external', width: 8, height: 8 }],
  on_violation: 'clamp',
  when_starved: 'hold',
} as const;

const client: readonly ClientFrame[] = [
  {
    type: 'observation',
    seq: 0,
    captured_at: 1,
    images: { eye: { jpeg: Uint8Array.of(0xff, 0xd8) } },
    state: Ndarray.float32(Float32Array.of(0)),
    instruction: 'lift',
    executed: { chunk_id: 'c', steps: 1, last_command: Ndarray.float32(Float32Array.of(0)) },
    delay: { steps: 2, latency_ms: 80 },
    resume: 'token',
    deadline_ms: 400,
  },
  { type: 'refresh', token: 't' },
  { type: 'bye' },
];
const server: readonly ServerFrame[] = [
  {
    type: 'welcome',
    session_id: 's',
    epoch: 1,
    worker: 'w',
    embodiment: structuredClone(spec) as unknown as (ServerFrame & {
      type: 'welcome';
    })['embodiment'],
    policy_version: 'p',
    stats_hash: 'h',
    preprocess_hash: 'h',
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
  { type: 'drain', reason: 'deploy', resume: 'token' },
  { type: 'error', code: 'internal', message: 'm', retryable: true, seq: 0 },
];
const later = { a_field_of_a_later_minor_version: { nested: [1, 'two'] } };

describe('frames of a later minor version', () => {
  it.each(client)('are read by a worker: $type', (frame) => {
    expect(parseClientFrame(encodeFrame({ ...frame, ...later }))).toEqual(frame);
  });

  it.each(server)('are read by a robot: $type', (frame) => {
    expect(parseServerFrame(encodeFrame({ ...frame, ...later }))).toEqual(frame);
  });

  it('may lack what this version added', () => {
    const [observation] = client;
    for (const added of ['delay', 'resume', 'executed', 'deadline_ms', 'instruction']) {
      expect(() => checkClientFrame({ ...observation, [added]: undefined })).not.toThrow();
    }
    expect(checkServerFrame({ type: 'drain', reason: 'deploy' })).toEqual({
      type: 'drain',
      reason: 'deploy',
    });
  });

  it('are refused by name where their type is unknown, or a field has another type', () => {
    expect(() => checkClientFrame({ type: 'teleport' })).toThrow(/type/);
    expect(() => checkClientFrame({ ...client[0], seq: '0' })).toThrow(/seq/);
    expect(() => checkClientFrame({ ...client[0], seq: 0.5 })).toThrow(/seq/);
    expect(() => checkServerFrame({ ...server[2], timings: {} })).toThrow(/timings/);
  });
});

describe('requests to the control plane', () => {
  it('with a field that is not known are refused: a misspelt option never passes silently', () => {
    const request = { robot: 'r', embodiment_id: 'e', reasonning: { when: 'off' } };
    expect(routes['sessions.create'].input.safeParse(request).success).toBe(false);
  });
});
