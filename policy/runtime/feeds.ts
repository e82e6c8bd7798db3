import {
  encodeActions,
  encodeCommand,
  encodeInstruction,
  encodeState,
  encodeVelocity,
  seeded,
} from '../data/index.ts';
import {
  MAX_STEPS,
  SAMPLER_COLUMNS,
  samplerTable,
  type DivlaConfig,
  type Signature,
} from '../divla/index.ts';
import type { Value } from '../engine/index.ts';
import { prefixMask, prefixWeights } from '../rtc/index.ts';
import { PolicyError } from './errors.ts';
import type { ActRow, PreviousChunk } from './handle.ts';

/** Views and instruction of `rows` rows as feeds; rows beyond those given repeat the first. */
export function viewFeeds(
  config: DivlaConfig,
  signature: Signature,
  given: readonly ActRow[],
  rows: number,
): Record<string, Value> {
  const views = signature.external + signature.wrist;
  const pixels = signature.width * signature.height * 3;
  const { textTokens } = config.language;
  const images = new Uint8Array(rows * views * pixels);
  const tokens = new BigInt64Array(rows * textTokens);
  const mask = new Float32Array(rows * textTokens);
  const present = new Float32Array(rows * views);
  eachRow(given, rows, (row, r) => {
    const { external, wrist } = row.policy.cameras;
    const place = (camera: string, view: number): void => {
      const picture = row.images[camera];
      if (picture === undefined) {
        throw new PolicyError(
          'invalid_row',
          `the observation has no picture of ${camera}`,
          `images.${camera}`,
        );
      }
      if (picture.length !== pixels) {
        throw new PolicyError(
          'invalid_row',
          `picture of ${camera} has ${picture.length} bytes, ${signature.width}×${signature.height} RGB has ${pixels}`,
          `images.${camera}`,
        );
      }
      if (row.policy.manifest.images === 'use') {
        images.set(picture, (r * views + view) * pixels);
      }
      present[r * views + view] = 1;
    };
    external.forEach((camera, i) => {
      place(camera, i);
    });
    wrist.forEach((camera, i) => {
      place(camera, signature.external + i);
    });
    const text = encodeInstruction(config, row.instruction);
    tokens.set(text.tokens, r * textTokens);
    mask.set(text.mask, r * textTokens);
  });
  return {
    images: {
      dtype: 'uint8',
      shape: [rows, views, signature.height, signature.width, 3],
      data: images,
    },
    tokens: { dtype: 'int64', shape: [rows, textTokens], data: tokens },
    token_mask: { dtype: 'float32', shape: [rows, textTokens], data: mask },
    present: { dtype: 'float32', shape: [rows, views], data: present },
  };
}

/** Slots of `rows` rows as a feed. */
export function slotFeed(given: readonly ActRow[], rows: number): Value {
  const slot = new BigInt64Array(rows);
  eachRow(given, rows, (row, r) => {
    slot[r] = BigInt(row.policy.slot);
  });
  return { dtype: 'int64', shape: [rows], data: slot };
}

/** Body, starting noise, sampler and slots of `rows` rows as feeds. */
export function actFeeds(
  config: DivlaConfig,
  signature: Signature,
  given: readonly ActRow[],
  rows: number,
  steps: number,
): Record<string, Value> {
  const { dims } = config.head;
  const chunk = signature.horizon * dims;
  const state = new Float32Array(rows * dims);
  const command = new Float32Array(rows * dims);
  const known = new Float32Array(rows);
  const noise = new Float32Array(rows * chunk);
  const kept = new Float32Array(rows * dims);
  const previous = new Float32Array(rows * chunk);
  const held = new Float32Array(rows * signature.horizon);
  const set = new Float32Array(rows * signature.horizon);
  eachRow(given, rows, (row, r) => {
    const { manifest, joints, usesCommand } = row.policy;
    const { normalisation } = manifest;
    state.set(encodeState(normalisation, row.state, dims), r * dims);
    // A policy has the one or the other.
    const moving =
      usesCommand && row.lastCommand !== undefined
        ? encodeCommand(normalisation, row.lastCommand, row.state, joints, dims)
        : encodeVelocity(normalisation, row.earlier, row.state, signature.horizon, dims);
    if (moving !== undefined) {
      command.set(moving, r * dims);
      known[r] = 1;
    }
    const width = normalisation.action.length;
    kept.fill(1, r * dims, r * dims + width);
    const scale = (row.sampler ?? manifest.sampler).noise_scale;
    if (scale > 0) {
      const random = seeded(row.seed);
      for (let k = 0; k < signature.horizon; k++) {
        for (let a = 0; a < width; a++) noise[r * chunk + k * dims + a] = random.normal() * scale;
      }
    }
    if (row.previous === undefined) return;
    const { actions } = row.previous;
    const left = actions.length / width;
    if (!Number.isInteger(left) || left > signature.horizon) {
      throw new PolicyError(
        'invalid_row',
        `the previous chunk has ${actions.length} values, at most ${signature.horizon} rows of ${width} fit`,
        'previous',
      );
    }
    const inForce = usesCommand ? row.lastCommand : undefined;
    const { clip } = config.diffusion;
    const at = r * chunk;
    encodeActions(normalisation, actions, 0, left, row.state, inForce, previous, at, dims, clip);
    const hold = holdOf(row.previous, manifest.prefix_delay_max, left, signature.horizon);
    (hold.given ? set : held).set(hold.weights, r * signature.horizon);
  });
  const f32 = (shape: readonly number[], data: Float32Array): Value => ({
    dtype: 'float32',
    shape,
    data,
  });
  return {
    state: f32([rows, dims], state),
    command: f32([rows, dims], command),
    known: f32([rows, 1], known),
    kept: f32([rows, dims], kept),
    noise: f32([rows, signature.horizon, dims], noise),
    table: f32([MAX_STEPS, SAMPLER_COLUMNS], tableOf(steps, config.diffusion.trainSteps)),
    steps: { dtype: 'int64', shape: [], data: BigInt64Array.of(BigInt(steps)) },
    slot: slotFeed(given, rows),
    previous: f32([rows, signature.horizon, dims], previous),
    previous_weight: f32([rows, signature.horizon], held),
    previous_given: f32([rows, signature.horizon], set),
  };
}

const tables = new Map<string, Float32Array>();

/** A sampler's table, which is the same for every chunk, in memory of its own. */
function tableOf(steps: number, trainSteps: number): Float32Array {
  const key = `${steps}/${trainSteps}`;
  const table = tables.get(key) ?? samplerTable(steps, trainSteps, MAX_STEPS);
  tables.set(key, table);
  return table.slice();
}

/**
 * How the previous chunk is held: by weights on what is sampled, or as actions that are given.
 * @param most the longest prefix that the version was trained with
 * @param left actions of the previous chunk
 */
function holdOf(
  { delay, schedule }: PreviousChunk,
  most: number | undefined,
  left: number,
  horizon: number,
): { readonly weights: Float32Array; readonly given: boolean } {
  const passed = Math.min(Math.max(0, delay), left);
  if (schedule !== 'trained') {
    return { weights: prefixWeights(schedule, passed, left, horizon), given: false };
  }
  if (most === undefined) {
    throw new PolicyError(
      'invalid_row',
      'the version was not trained with a prefix',
      'previous.schedule',
    );
  }
  return passed > most
    ? { weights: prefixWeights('exp', passed, left, horizon), given: false }
    : { weights: prefixMask([passed], horizon), given: true };
}

/** Embeddings of the rows' reasonings, zero where there is none. */
export function reasoningFeed(config: DivlaConfig, given: readonly ActRow[], rows: number): Value {
  const width = config.decoder.reasoning;
  const data = new Float32Array(rows * width);
  eachRow(given, rows, (row, r) => {
    if (row.reasoning !== undefined) data.set(row.reasoning.embedding, r * width);
  });
  return { dtype: 'float32', shape: [rows, width], data };
}

function eachRow(
  given: readonly ActRow[],
  rows: number,
  visit: (row: ActRow, r: number) => void,
): void {
  const first = given[0];
  if (first === undefined) throw new PolicyError('invalid_row', 'a batch needs at least one row');
  for (let r = 0; r < rows; r++) visit(given[r] ?? first, r);
}
