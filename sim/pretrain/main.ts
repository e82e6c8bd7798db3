import { mkdirSync, readFileSync, existsSync, renameSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import {
  baseWeightsUrl,
  readSafetensors,
  toFloat32,
  writeSafetensors,
  writeWeights,
} from '@armature/policy/checkpoint';
import { nano } from '@armature/policy/divla';
import { Engine } from '@armature/policy/engine';
import { TrainSession, type StepResult, type TrainState } from '@armature/policy/train';
import { Renderer } from '../render.ts';
import { pretrainArms, pretrainBatch } from './batch.ts';
import { closedLoopScore } from './closed-loop-score.ts';
import { groundingError } from './heldout.ts';
import { pretrainModel, signature, weightsOf } from './model.ts';

const ARMS = 16;
const PICTURES = 2;
const INSTRUCTIONS = 3;
const SPOKEN = 1;
const REPORT_EVERY = 20;
const SAVE_EVERY = 100;
const HELDOUT_EVERY = 300;

interface Curves {
  readonly command: string;
  readonly seed: number;
  readonly parameters: number;
  readonly train: {
    step: number;
    loss: number;
    action: number;
    reasoning: number;
    found_px: number;
    seconds: number;
  }[];
  readonly heldout: { step: number; found_px: number }[];
  closed_loop: { successes: number; episodes: number } | null;
}

const program = new Command('pretrain')
  .description('Trains the nano base on the simulator: other arms, thousands of scenes.')
  .option('--steps <n>', 'optimiser steps of 32 pictures, 3 instructions each', whole, 1500)
  .option('--seed <n>', 'seed of arms, scenes and weights', whole, 1)
  .option('--learning-rate <x>', 'peak learning rate', Number, 2e-3)
  .option('--work <dir>', 'checkpoints, to go on from after a stop', '.armature/pretrain')
  .option('--out <file>', 'weights as they ship', baseWeightsUrl('nano').pathname)
  .option('--restart', 'forget the checkpoint and begin anew', false)
  .option('--json', 'progress as JSON lines on standard output', false);
program.parse();
const options = program.opts<{
  steps: number;
  seed: number;
  learningRate: number;
  work: string;
  out: string;
  restart: boolean;
  json: boolean;
}>();
const stop = new AbortController();
process.once('SIGINT', () => {
  stop.abort();
});
process.once('SIGTERM', () => {
  stop.abort();
});
await pretrain();

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('a whole number');
  return value;
}

async function pretrain(): Promise<void> {
  const { seed, steps } = options;
  mkdirSync(options.work, { recursive: true });
  const renderer = new Renderer();
  const arms = pretrainArms(seed, ARMS, renderer);
  const model = pretrainModel(ARMS, seed);
  const engine = await Engine.start({ threads: availableParallelism() });
  const saved = options.restart ? undefined : readCheckpoint();
  const curves: Curves = saved?.curves ?? {
    command: `npm run pretrain -- --steps ${steps} --seed ${seed} --learning-rate ${options.learningRate}`,
    seed,
    parameters: model.layout.size,
    train: [],
    heldout: [],
    closed_loop: null,
  };
  const session = await TrainSession.create({
    engine,
    id: 'pretrain',
    options: {
      config: nano,
      signature,
      pictures: ARMS * PICTURES,
      instructions: INSTRUCTIONS,
      draws: 1,
      prefixed: false,
      spoken: SPOKEN,
      slots: ARMS,
      passes: 1,
      from: 'images',
      trainable: model.layout,
      reasoningWeight: 0.3,
      groundingWeight: 3,
      optimiser: { beta1: 0.9, beta2: 0.98, eps: 1e-8, weightDecay: 0.01, clip: 1 },
    },
    settings: {
      peakRate: options.learningRate,
      warmup: 50,
      totalSteps: steps,
      rateFloor: 0.02,
      emaDecay: 0.995,
    },
    weights: (name) => model.initial(name),
    ...(saved === undefined ? {} : { state: saved.state }),
  });
  const shape = {
    config: nano,
    signature,
    pictures: PICTURES,
    instructions: INSTRUCTIONS,
    spoken: SPOKEN,
  };
  const before = curves.train.at(-1)?.seconds ?? 0;
  const started = performance.now();
  const seconds = (): number => before + (performance.now() - started) / 1000;
  let sums: StepResult[] = [];
  let batch = pretrainBatch(arms, shape, renderer, seed, session.stepIndex);
  while (session.stepIndex < steps && !stop.signal.aborted) {
    const running = session.step(batch);
    batch = pretrainBatch(arms, shape, renderer, seed, session.stepIndex + 1);
    sums.push(await running);
    const step = session.stepIndex;
    if (step % REPORT_EVERY === 0) {
      const mean = (pick: (r: StepResult) => number): number =>
        sums.reduce((total, r) => total + pick(r), 0) / sums.length;
      const line = {
        step,
        loss: mean((r) => r.loss),
        action: mean((r) => r.actionLoss),
        reasoning: mean((r) => r.reasoningLoss),
        found_px: Math.sqrt(mean((r) => r.groundingLoss)) * (signature.width / 2),
        seconds: seconds(),
      };
      curves.train.push(line);
      report(line, steps);
      sums = [];
    }
    if (step % HELDOUT_EVERY === 0 || step === steps) {
      const weights = weightsOf(model, (await session.state()).ema);
      const found_px = await groundingError({ engine, model, weights, renderer, seed });
      curves.heldout.push({ step, found_px });
      say(`held-out arms and scenes: the named object is found to ${found_px.toFixed(2)} pixels`);
    }
    if (step % SAVE_EVERY === 0) saveCheckpoint(await session.state(), curves);
  }
  const state = await session.state();
  saveCheckpoint(state, curves);
  if (stop.signal.aborted) {
    say(`stopped at step ${state.step}; the same command goes on from there`);
    await engine.close();
    process.exitCode = 130;
    return;
  }
  const weights = weightsOf(model, state.ema);
  const bytes = writeWeights(model.trunk, weights, 'F16', {
    preset: nano.name,
    command: curves.command,
  });
  curves.closed_loop = await closedLoopScore({
    engine,
    model,
    base: bytes,
    weights,
    arms: arms.slice(0, 8),
    episodes: 25,
    seed: seed + 1,
  });
  const { successes, episodes } = curves.closed_loop;
  say(`closed loop in scenes never seen: ${successes} of ${episodes} episodes`);
  replaceFile(options.out, bytes);
  replaceFile(join(options.out, '..', 'curves.json'), `${JSON.stringify(curves, null, 1)}\n`);
  say(`wrote ${options.out} (${(bytes.length / 1e6).toFixed(1)} MB)`);
  await engine.close();
}

function report(line: Curves['train'][number], steps: number): void {
  if (options.json) {
    process.stdout.write(`${JSON.stringify(line)}\n`);
    return;
  }
  const perStep = line.seconds / line.step;
  const left = Math.round((steps - line.step) * perStep);
  say(
    `step ${line.step}/${steps}  loss ${line.loss.toFixed(4)}  action ${line.action.toFixed(4)}  ` +
      `reasoning ${line.reasoning.toFixed(3)}  found to ${line.found_px.toFixed(2)} px  ` +
      `${((ARMS * PICTURES) / perStep).toFixed(0)} pictures/s  ${left} s left`,
  );
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function checkpointPath(): string {
  return join(options.work, `seed-${options.seed}.safetensors`);
}

function saveCheckpoint(state: TrainState, curves: Curves): void {
  const flat = (data: Float32Array) => ({ dtype: 'F32', shape: [data.length], data }) as const;
  const bytes = writeSafetensors(
    new Map([
      ['theta', flat(state.theta)],
      ['m', flat(state.m)],
      ['v', flat(state.v)],
      ['ema', flat(state.ema)],
    ]),
    { step: String(state.step), steps: String(options.steps), curves: JSON.stringify(curves) },
  );
  replaceFile(checkpointPath(), bytes);
}

function readCheckpoint(): { state: TrainState; curves: Curves } | undefined {
  if (!existsSync(checkpointPath())) return undefined;
  const { tensors, metadata } = readSafetensors(readFileSync(checkpointPath()));
  if (metadata['steps'] !== String(options.steps)) {
    throw new RangeError(
      `the checkpoint is of a run of ${metadata['steps'] ?? 'unknown'} steps; give --steps as then, or --restart`,
    );
  }
  const take = (name: string): Float32Array => {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw new RangeError(`the checkpoint lacks ${name}`);
    return toFloat32(tensor);
  };
  const step = Number(metadata['step']);
  say(`going on from step ${step}`);
  return {
    state: { step, theta: take('theta'), m: take('m'), v: take('v'), ema: take('ema') },
    curves: JSON.parse(metadata['curves'] ?? 'null') as Curves,
  };
}

function replaceFile(path: string, content: Uint8Array | string): void {
  writeFileSync(`${path}.part`, content);
  renameSync(`${path}.part`, path);
}
