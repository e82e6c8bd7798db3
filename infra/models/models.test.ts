import { execFile, spawn } from 'node:child_process';
import { createHash, randomFillSync, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, open, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readSafetensors, toFloat32 } from '@armature/policy/checkpoint';
import { samplerTable } from '@armature/policy/divla';
import { Engine, type Value } from '@armature/policy/engine';
import { readModelManifest } from '@armature/policy/export';
import { toHalf } from '@armature/policy/tensor';
import { fixturePath } from '../../test/support/fixtures.ts';
import { largestDifference, readReference } from '../../test/support/parity.ts';
import { feedOf } from '../../test/support/tiny-models.ts';
import { bundled } from '../../test/support/bundle.ts';
import { loadModelTools, type ModelTools } from '../../sdk/cli/model-tools.ts';
import { runCli } from '../../sdk/cli/run-cli.ts';
import * as tools from './index.ts';

const BIN = path.resolve(import.meta.dirname, '../../sdk/bin/armature.mjs');
const TINY = fixturePath('qwen2-vl-tiny', 'folder-bf16-sharded');
const SIGLIP = fixturePath('siglip-tiny', 'folder-full');
const run = promisify(execFile);

let scratch: string;
let synthetic: ReturnType<typeof syntheticFolder>;
beforeAll(async () => {
  scratch = await mkdtemp(path.join(os.tmpdir(), 'models-'));
  synthetic = syntheticFolder();
  await synthetic;
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

/** One command, as its process runs it. */
async function armature(
  ...args: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  let [stdout, stderr] = ['', ''];
  const unasked = () => Promise.reject(new Error('a model needs no answer'));
  const code = await runCli({
    argv: ['models', ...args],
    out: (text) => (stdout += text),
    err: (text) => (stderr += text),
    interactive: false,
    interrupted: () => null,
    env: {},
    cwd: scratch,
    signal: new AbortController().signal,
    onInterrupt: () => () => undefined,
    ask: unasked,
    readInput: unasked,
  });
  return { code, stdout, stderr };
}

/** A Llama of random bfloat16 weights, some 270 MB, in one file. */
async function syntheticFolder(): Promise<{ dir: string; bytes: number }> {
  const dir = path.join(scratch, 'synthetic');
  await mkdir(dir);
  const [hidden, intermediate, layers, vocabulary] = [1024, 4096, 7, 24_000];
  await writeFile(
    path.join(dir, 'config.json'),
    JSON.stringify({
      model_type: 'llama',
      hidden_size: hidden,
      intermediate_size: intermediate,
      num_hidden_layers: layers,
      num_attention_heads: 16,
      num_key_value_heads: 4,
      vocab_size: vocabulary,
      rms_norm_eps: 1e-5,
      hidden_act: 'silu',
      attention_bias: false,
      tie_word_embeddings: true,
      rope_theta: 10_000,
    }),
  );
  const tensors: [string, number[]][] = [['model.embed_tokens.weight', [vocabulary, hidden]]];
  for (let i = 0; i < layers; i += 1) {
    const layer = `model.layers.${i}`;
    tensors.push(
      [`${layer}.input_layernorm.weight`, [hidden]],
      [`${layer}.post_attention_layernorm.weight`, [hidden]],
      [`${layer}.self_attn.q_proj.weight`, [hidden, hidden]],
      [`${layer}.self_attn.k_proj.weight`, [hidden / 4, hidden]],
      [`${layer}.self_attn.v_proj.weight`, [hidden / 4, hidden]],
      [`${layer}.self_attn.o_proj.weight`, [hidden, hidden]],
      [`${layer}.mlp.gate_proj.weight`, [intermediate, hidden]],
      [`${layer}.mlp.up_proj.weight`, [intermediate, hidden]],
      [`${layer}.mlp.down_proj.weight`, [hidden, intermediate]],
    );
  }
  tensors.push(['model.norm.weight', [hidden]]);
  let end = 0;
  const header: Record<string, unknown> = {};
  for (const [name, shape] of tensors) {
    const begin = end;
    end += 2 * shape.reduce((a, b) => a * b, 1);
    header[name] = { dtype: 'BF16', shape, data_offsets: [begin, end] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const handle = await open(path.join(dir, 'model.safetensors'), 'wx');
  await handle.appendFile(Buffer.concat([length, json]));
  for (let left = end / 2; left > 0;) {
    const piece = new Uint16Array(Math.min(left, 2 ** 22));
    randomFillSync(piece);
    // Of size 2^-6 to 2^-5, of either sign.
    await handle.appendFile(Buffer.from(piece.map((bits) => 0x3c80 | (bits & 0x807f)).buffer));
    left -= piece.length;
  }
  await handle.close();
  return { dir, bytes: end };
}

it('are the tools that the command line asks for', async () => {
  const asked: ModelTools = tools;
  expect(Object.keys(await loadModelTools()).sort()).toEqual(Object.keys(asked).sort());
  await expect(loadModelTools('@armature/absent')).rejects.toMatchObject({ code: 'not_found' });
});

describe('armature models plan', () => {
  it('says what fits', async () => {
    const { code, stdout } = await armature(
      'plan',
      '72b',
      '--gpu-memory',
      '80',
      '--json',
      '--lora-rank',
      '0',
    );
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as ReturnType<typeof tools.planModel>;
    const fits = Object.fromEntries(report.formats.map((plan) => [plan.format, plan.fits]));
    expect(fits).toEqual({ float16: false, int8: false, int4: true });
  });

  it('tells people how much is left or short, and where a format runs', async () => {
    const { stdout } = await armature('plan', '2b', '--gpu-memory', '16', '--batch', '1');
    const row = (name: string) => stdout.split('\n').find((line) => line.startsWith(name)) ?? '';
    expect(stdout).toMatch(/^2b, batch 1, policies 64, adapters of rank 16\n/);
    const numbers = (name: string) => (row(name).match(/\d+(\.\d+)?/g) ?? []).map(Number);
    const [, ...left] = numbers('fits 16 GiB');
    expect(left).toHaveLength(3);
    numbers('total').forEach((total, i) => expect(total + (left[i] ?? NaN)).toBeCloseTo(16, 1));
    expect(row('runs on').split(/\s{2,}/)).toEqual([
      'runs on',
      'GPU, CPU',
      'CPU alone',
      'GPU, CPU',
    ]);
    const short = await armature('plan', '2b', '--gpu-memory', '1', '--batch', '1');
    expect(short.stdout).toMatch(/fits 1 GiB\s+no, \d+\.\d\d short/);
  });

  it('refuses a robot without views', async () => {
    const none = ['--external', '0', '--wrist', '0'];
    const { code, stderr } = await armature('plan', '2b', '--gpu-memory', '80', ...none);
    expect(code).not.toBe(0);
    expect(stderr).toContain('views: a row has at least one');
  });

  it('refuses a preset that it does not know', async () => {
    const { code, stderr } = await armature('plan', '3b', '--gpu-memory', '80');
    expect(code).toBe(2);
    expect(stderr).toContain('2b, 7b, 72b');
  });
});

describe('armature models import', () => {
  it('writes files that the manifest counts, and says how far they are from float32', async () => {
    const out = path.join(scratch, 'tiny');
    const args = [TINY, '--out', out, '--weights', 'int8', '--image-size', '56', '--parts'];
    const { code, stdout } = await armature('import', ...args, '--json');
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as tools.ImportReport;
    expect(report.logits?.cosine).toBeGreaterThan(0.99);
    // The seven matrices of every layer.
    const { text_config: text } = JSON.parse(
      await readFile(path.join(TINY, 'config.json'), 'utf8'),
    ) as { text_config: { num_hidden_layers: number } };
    const quantised = report.errors.filter(({ format }) => format === 'int8');
    expect(quantised).toHaveLength(7 * text.num_hidden_layers);
    const manifest = readModelManifest(await readFile(path.join(out, 'model.json')));
    expect(await readdir(out)).toEqual([...Object.keys(manifest.files), 'model.json'].sort());
    for (const [name, { size }] of Object.entries(manifest.files)) {
      expect((await stat(path.join(out, name))).size).toBe(size);
    }
    const again = await armature('import', ...args);
    expect(again.code).toBe(1);
    expect(again.stderr).toContain('conflict');
  });

  it('takes a language model and SigLIP from two folders', async () => {
    const out = path.join(scratch, 'both');
    const siglip = fixturePath('siglip-tiny', 'folder-full');
    const seen = await readReference('siglip-tiny', 'outputs.safetensors');
    const pixels = (await readReference('siglip-tiny', 'inputs.safetensors')).at('pixel_values');
    const [batch = 0] = pixels.shape;
    const { code, stdout, stderr } = await armature(
      ...['import', TINY, '--vision', siglip, '--out', out, '--json'],
      ...['--weights', 'float32', '--batch', String(batch), '--views', '1', '--parts'],
    );
    expect(code, stderr).toBe(0);
    const report = JSON.parse(stdout) as tools.ImportReport;
    expect(report.logits?.cosine).toBeGreaterThan(0.99999);
    const manifest = readModelManifest(await readFile(path.join(out, 'model.json')));
    expect(Object.keys(manifest.graphs).sort()).toEqual(['language', 'vision']);
    // One file holds both: SigLIP, not the language model's own tower, sees what the reference sees.
    const engine = await Engine.start({ threads: 1, name: 'both' });
    const graph = path.join(out, 'vision.onnx');
    await engine.load(graph, graph);
    const { tokens } = await engine.run(graph, { pixels: feedOf(pixels) });
    await engine.close();
    const want = seen.at('last_hidden_state');
    expect(tokens?.shape).toEqual(want.shape);
    expect(largestDifference(tokens?.data ?? [], want.data)).toBeLessThan(1e-4);
  });

  it('joins a language model and a vision encoder to one policy that acts', async () => {
    const out = path.join(scratch, 'joined');
    const args = [TINY, '--vision', SIGLIP, '--out', out, '--weights', 'int4', '--slots', '2'];
    const sizes = ['--decoder', '16,32', '--text-tokens', '4', '--reasoning-tokens', '3'];
    const { code, stdout } = await armature('import', ...args, ...sizes, '--json');
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as tools.ImportReport;
    expect(report.logits?.cosine).toBeGreaterThan(0.9);
    const files = new Set(report.fresh.map(({ file }) => file));
    expect([...files]).toEqual(['model.data', 'head.safetensors']);
    expect(report.fresh.map(({ scope }) => scope)).toContain('divla.resampler');
    const manifest = readModelManifest(await readFile(path.join(out, 'model.json')));
    expect(manifest.fresh).toEqual(report.fresh);
    expect(await readdir(out)).toEqual([...Object.keys(manifest.files), 'model.json'].sort());
    for (const [name, { sha256 }] of Object.entries(manifest.files)) {
      const bytes = await readFile(path.join(out, name));
      expect(createHash('sha256').update(bytes).digest('hex')).toBe(sha256);
    }
    // Every input that is not asked for by the head is zero, as a blind robot's would be.
    const { tensors } = readSafetensors(await readFile(path.join(out, 'head.safetensors')));
    const { inputs } = manifest.graphs['reason_and_act']!;
    const feeds = inputs.map(({ name, dtype, shape }): [string, Value] => {
      const size = shape.reduce((product, length) => product * length, 1);
      const type = dtype as Value['dtype'];
      if (name === 'table') return [name, { dtype: type, shape, data: samplerTable(2, 100, 20) }];
      if (name === 'steps') return [name, { dtype: type, shape, data: BigInt64Array.of(2n) }];
      const head = tensors.get(name);
      const data =
        head !== undefined
          ? Uint16Array.from({ length: size }, (_, i) =>
              toHalf(toFloat32(head)[i % head.data.length] ?? NaN),
            )
          : type === 'int64'
            ? new BigInt64Array(size)
            : type === 'uint8'
              ? new Uint8Array(size)
              : new Float32Array(size).fill(name === 'previous_weight' ? 0 : 0.5);
      return [name, { dtype: type, shape, data }];
    });
    const engine = await Engine.start({ threads: 1, name: 'joined' });
    await engine.load('joined', path.join(out, 'reason_and_act.onnx'));
    const acted = await engine.run('joined', Object.fromEntries(feeds));
    await engine.close();
    expect(acted['actions']?.shape).toEqual([1, 16, 32]);
    expect(Array.from(acted['actions']?.data ?? [], Number).every(Number.isFinite)).toBe(true);
    expect(acted['reasoning_tokens']?.shape[0]).toBe(1);
  });

  it.each([
    [['/nowhere'], 'not_found'],
    [[TINY, '--image-size', '57'], 'image-size'],
    [[TINY, '--weights', 'int8', '--rest', 'float16'], 'rest'],
    [[TINY, '--vision', TINY], 'vision'],
    [[TINY, '--vision', SIGLIP, '--wrist', '3'], 'wrist'],
    [[TINY, '--vision', SIGLIP, '--decoder', '12,32'], 'decoder'],
    [[TINY, '--vision', SIGLIP, '--horizon', '6'], 'horizon'],
  ])('refuses %j', async (args, told) => {
    const out = path.join(scratch, 'refused');
    const { code, stderr } = await armature('import', ...args, '--out', out, '--no-check');
    expect(code).toBe(1);
    expect(stderr).toContain(told);
    expect((await readdir(scratch)).filter((name) => name.startsWith('refused'))).toEqual([]);
  });

  /** Peak memory of an import in a process of its own, bytes. */
  async function peak(from: string, out: string, check: boolean): Promise<number> {
    const script = await bundled('test/support/import-peak.ts');
    const args = [script, from, path.join(scratch, out), String(check)];
    return Number((await run(process.execPath, args)).stdout);
  }

  // How much is held hangs on when garbage is collected. Checking reads the unrounded model in float32,
  // twice the source's bytes, mapped from its file: once, and never a second time beside it.
  it.each([
    ['a piece of a model', false, 0.8],
    ['a model no more than once to check it', true, 2 * 1.6],
  ])(
    'holds %s in memory',
    async (_, check, most) => {
      const { dir, bytes } = await synthetic;
      const idle = await peak(TINY, `idle-${check}`, check);
      const busy = await peak(dir, `busy-${check}`, check);
      expect(bytes).toBeGreaterThan(2.5e8);
      expect(busy - idle).toBeLessThan(bytes * most);
    },
    300_000,
  );

  /** Starts an import of the large folder and, once it has begun to write, sends the signal. */
  async function cut(out: string, signal: NodeJS.Signals, dir: string) {
    const args = ['models', 'import', dir, '--out', path.join(scratch, out), '--no-check'];
    const child = spawn(process.execPath, [BIN, ...args]);
    let said = '';
    child.stderr.on('data', (text: Buffer) => {
      if (said === '') child.kill(signal);
      said += text.toString();
    });
    const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
    return { code, said };
  }

  const left = async (out: string) =>
    (await readdir(scratch)).filter((name) => name.startsWith(`${out}.`) || name === out);

  it.each([
    ['SIGINT' as const, 130],
    ['SIGTERM' as const, 143],
  ])('leaves nothing behind on %s', async (signal, expected) => {
    const { dir } = await synthetic;
    const { code, said } = await cut('cut', signal, dir);
    expect(code).toBe(expected);
    expect(said).toContain('cancelled');
    expect(await left('cut')).toEqual([]);
  });

  it('removes what a killed import has left, and no folder that is being filled', async () => {
    const { dir } = await synthetic;
    await cut('killed', 'SIGKILL', dir);
    const [partial, ...more] = await left('killed');
    expect(more).toEqual([]);
    expect(partial).toMatch(/^killed\.partial-/);
    // As a process that runs, on this machine, and one of another machine would name theirs.
    const named = (host: string, pid: number) => `killed.partial-${host}-${pid}-${randomUUID()}`;
    const kept = [named(os.hostname(), process.pid), named('elsewhere', 999_999_999)];
    for (const name of kept) await mkdir(path.join(scratch, name));
    const out = path.join(scratch, 'killed');
    // By a process of its own: a folder with its own number that it does not fill is an earlier one's.
    const args = [
      'models',
      'import',
      TINY,
      '--out',
      out,
      '--no-check',
      '--image-size',
      '56',
      '--parts',
    ];
    await run(process.execPath, [BIN, ...args]);
    expect(await left('killed')).toEqual(['killed', ...kept].sort());
  });
});
