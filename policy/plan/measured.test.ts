import { execFile } from 'node:child_process';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundled } from '../../test/support/bundle.ts';
import type { MeasuredSession, SessionMemory } from '../../test/support/session-memory.ts';
import { languageModel, siglipShape } from '../backbones/index.ts';
import { nano, serveGraph, type ServeGraph } from '../divla/index.ts';
import { LARGE_DIFFUSION, isBank, largeGraph, type LargeConfig } from '../divla/large/index.ts';
import { StoredWeights, layOut } from '../export/index.ts';
import { peakBytes, toOnnx, type Graph } from '../tensor/index.ts';
import { FRAGMENTATION, planMemory } from './memory.ts';

/**
 * Plans against the memory of a process that runs the graphs: never less than it takes, and at most half as much
 * again.
 */
const AT_MOST = 1.5;
/** Messages to the engine and their copies, MiB. */
const MESSAGES = 8;
/** The same with the runtime's code, its tables of a graph of thousands of nodes and what it folds, MiB. */
const RUNTIME = 80;
const MIB = 2 ** 20;

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(path.join(os.tmpdir(), 'plan-'));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

async function measure(
  graph: Graph,
  model: Uint8Array,
  isResident: (name: string) => boolean,
): Promise<SessionMemory> {
  const session: MeasuredSession = {
    model: path.join(scratch, 'model.onnx'),
    inputs: graph.inputs.map(({ name, tensor: { dtype, shape } }) => ({
      name,
      dtype,
      shape,
      fill: name === 'steps' ? 2 : dtype === 'int64' ? 0 : dtype === 'uint8' ? 100 : 0.1,
      resident: isResident(name),
    })),
  };
  await writeFile(session.model, model);
  const asked = path.join(scratch, 'session.json');
  await writeFile(asked, JSON.stringify(session));
  const script = await bundled('test/support/session-memory.ts');
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', script, asked]);
  return JSON.parse(stdout) as SessionMemory;
}

describe.runIf(process.platform === 'linux')('what a run takes beside its weights', () => {
  it.each<[ServeGraph, number]>([
    ['act', 8],
    ['act', 32],
    ['reason_and_act', 8],
    ['reason_and_act', 32],
  ])('nano, %s of %i rows', async (kind, rows) => {
    const graph = serveGraph(kind, {
      config: nano,
      signature: { external: 1, wrist: 1, width: 96, height: 96, horizon: 16 },
      rows,
      slots: 8,
      // No row says -1, so that all tokens are spoken.
      special: { begin: 0, end: -1, pad: 0 },
    });
    const { ran } = await measure(graph, toOnnx(graph), (name) => /^(trunk|head)\./.test(name));
    const planned = peakBytes(graph, 256) * (1 + FRAGMENTATION);
    expect(planned + MESSAGES * MIB).toBeGreaterThan(ran);
    expect(planned).toBeLessThan(AT_MOST * ran);
  });
});

describe.runIf(process.platform === 'linux')('what a model takes in all', () => {
  const config: LargeConfig = {
    name: 'middling',
    language: languageModel({
      model_type: 'qwen2_vl',
      hidden_size: 512,
      intermediate_size: 2560,
      num_hidden_layers: 4,
      num_attention_heads: 8,
      num_key_value_heads: 2,
      vocab_size: 30_000,
      rms_norm_eps: 1e-6,
      hidden_act: 'silu',
      rope_theta: 1e6,
      rope_scaling: { type: 'mrope', mrope_section: [8, 12, 12] },
      tie_word_embeddings: true,
    }),
    vision: {
      kind: 'siglip',
      shape: siglipShape({
        hidden_size: 192,
        intermediate_size: 768,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        image_size: 224,
        patch_size: 14,
        num_channels: 3,
        hidden_act: 'gelu_pytorch_tanh',
        layer_norm_eps: 1e-6,
      }),
    },
    tokens: { external: 128, wrist: 16 },
    reasoning: 128,
    decoder: {
      actions: 64,
      channels: [64, 128, 256],
      kernel: 5,
      groups: 8,
      stepEmbedding: 64,
      scales: true,
    },
    condition: 128,
    head: { dims: 32, hidden: 256 },
    diffusion: LARGE_DIFFUSION,
  };
  const lora = { rank: 8, scaling: 1, targets: ['q_proj', 'v_proj', 'down_proj'] };

  it.each([2, 8])('a batch of %i with policies of their own', async (batch) => {
    const options = { external: 1, wrist: 1, textTokens: 24, reasoningTokens: 12, slots: 64, lora };
    const store = new StoredWeights({ weights: 'float32', rest: 'float32' });
    const graph = largeGraph('reason_and_act', {
      config,
      signature: { ...options, horizon: 16 },
      rows: batch,
      slots: options.slots,
      special: { end: -1, pad: 0 },
      lora,
      weights: (own) => ({ ...store.reader(own, isBank), half: false }),
    });
    const { places, size } = layOut(store.list(), 'model.data');
    await writeFile(path.join(scratch, 'model.data'), '');
    await truncate(path.join(scratch, 'model.data'), size);
    const model = toOnnx(graph, {
      external: (name) => places.get(name) ?? { location: '', offset: 0, length: 0 },
    });
    const { held, ran } = await measure(graph, model, isBank);
    const plan = planMemory(config, {
      ...options,
      batch,
      format: 'float32',
      gpuMemory: 1,
      reserve: RUNTIME / 1024,
    });
    expect(plan.bytes).toBeGreaterThan(held + ran);
    expect(plan.bytes).toBeLessThan(AT_MOST * (held + ran));
  });
});
