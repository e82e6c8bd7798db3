import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readFixtureJson } from '../../test/support/fixtures.ts';
import { train } from '../../test/support/adam.ts';
import { hold, holdClose, readReference, toleranceOf } from '../../test/support/parity.ts';
import { feedOf, runOnce, watchedParams } from '../../test/support/tiny-models.ts';
import { toFloat32 } from '../checkpoint/index.ts';
import { alphasCumprod } from '../divla/diffusion.ts';
import { Engine, type Value, type Values } from '../engine/index.ts';
import { zeros, type ParamSpec } from '../nn/params.ts';
import { Graph, concat, gradients, mse, reshape, type Tensor } from '../tensor/index.ts';
import { conditionalUnet1d, ddimSample, type ConditionalUnet1dShape } from './index.ts';

interface Meta {
  use_film_scale_modulation: boolean;
  down_dims: number[];
  kernel_size: number;
  n_groups: number;
  diffusion_step_embed_dim: number;
  action_dim: number;
  training: {
    lr: number;
    betas: [number, number];
    eps: number;
    weight_decay: number;
    steps: number;
    losses: number[];
    final_weights: Record<string, { mean: number; abs_mean: number }>;
    final_weights_tolerance: number;
  };
  tolerance: Record<string, number>;
}

const schedule = (await readFixtureJson('diffusion', 'schedulers.json')) as {
  train_steps: number;
  clip_sample_range: number;
};

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, name: 'unet' });
});
afterAll(() => engine.close());

describe.each(['unet_film_scale', 'unet_film_shift'])('%s', async (name) => {
  const meta = (await readFixtureJson('diffusion', `${name}.json`)) as Meta;
  const stored = await readReference('diffusion', `${name}.weights.safetensors`);
  const given = await readReference('diffusion', `${name}.safetensors`);
  const shape: ConditionalUnet1dShape = {
    actions: meta.action_dim,
    channels: meta.down_dims,
    kernel: meta.kernel_size,
    groups: meta.n_groups,
    stepEmbedding: meta.diffusion_step_embed_dim,
    scales: meta.use_film_scale_modulation,
  };
  const label = (quantity: string, detail: string) => ({
    fixture: `diffusion/${name}`,
    quantity,
    detail,
  });
  const weights = Object.fromEntries(
    [...stored.tensors].map(([key, tensor]) => [key, feedOf(tensor)] as const),
  );
  const inputOf = (graph: Graph, key: string): Tensor =>
    graph.input(key, feedOf(given.at(key)).dtype, given.at(key).shape);
  const feeds = Object.fromEntries(
    ['x', 'target', 't', 'cond'].map((key) => [key, feedOf(given.at(key))] as const),
  );
  const holdNamed = (quantity: string, key: string, got: Value | undefined): void => {
    holdClose(label(quantity, key), got, given.at(key), toleranceOf(meta.tolerance, key));
  };

  it('denoises one step and learns from it as the reference does', async () => {
    const graph = new Graph('unet');
    const { params, tensors, specs } = watchedParams(graph);
    const [x, t, cond, target] = ['x', 't', 'cond', 'target'].map((key) => inputOf(graph, key)) as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    const y = conditionalUnet1d(params, shape, x, t, cond);
    const loss = mse(y, target);
    graph.output('y', y);
    graph.output('mse', loss);
    const learnt = Object.keys(meta.tolerance).filter((key) => key.startsWith('grad.'));
    const wrt = learnt.map((key) => {
      const own = key.slice('grad.'.length);
      const tensor = own === 'x' ? x : own === 'cond' ? cond : tensors.get(own);
      if (tensor === undefined) throw new RangeError(`the network has no weight for ${key}`);
      return tensor;
    });
    gradients(loss, wrt).forEach((slope, i) => {
      graph.output(learnt[i] ?? '', slope);
    });
    expect(specs.map((spec) => spec.name).sort()).toEqual([...stored.tensors.keys()].sort());
    const results = await runOnce(engine, graph, { ...weights, ...feeds });
    holdNamed('one step', 'y', results['y']);
    holdNamed('one step', 'mse', results['mse']);
    for (const key of learnt) holdNamed('gradients', key, results[key]);
  });

  it('samples in ten steps as the reference does', async () => {
    const trajectory = given.at('ddim10.trajectory');
    const [entries = 0, ...chunk] = trajectory.shape;
    const graph = new Graph('ddim');
    const { params } = watchedParams(graph);
    const start = graph.input('start', 'float32', chunk);
    const cond = inputOf(graph, 'cond');
    const chain = ddimSample(
      start,
      { steps: entries - 1, trainSteps: schedule.train_steps, clip: schedule.clip_sample_range },
      (x, t) => conditionalUnet1d(params, shape, x, t, cond),
    );
    const all = [start, ...chain].map((x) => reshape(x, [1, ...chunk]));
    graph.output('trajectory', concat(all, 0));
    const first = toFloat32(trajectory).slice(0, trajectory.data.length / entries);
    const results = await runOnce(engine, graph, {
      ...weights,
      ...feeds,
      start: { dtype: 'float32', shape: chunk, data: first },
    });
    holdNamed('ten-step sample', 'ddim10.trajectory', results['trajectory']);
  });

  it('trains as the reference does', async () => {
    const { training } = meta;
    const [, ...chunk] = given.at('train.actions').shape;
    const [, batch = 0, condition = 0] = given.at('train.cond').shape;
    const bars = alphasCumprod(schedule.train_steps);
    const size = chunk.reduce((a, b) => a * b, 1);
    const batchOf = (step: number): Values => {
      const part = (key: string, count: number): Float32Array =>
        toFloat32(given.at(key)).slice(step * count, (step + 1) * count);
      const levels = Array.from({ length: batch }, (_, i) =>
        Number(given.at('train.t').data[step * batch + i]),
      );
      const own = part('train.noise', size);
      const each = size / batch;
      const mixed = part('train.actions', size).map((value, i) => {
        const bar = bars[levels[Math.floor(i / each)] ?? 0] ?? NaN;
        return Math.sqrt(bar) * value + Math.sqrt(1 - bar) * (own[i] ?? NaN);
      });
      return {
        noisy: { dtype: 'float32', shape: chunk, data: mixed },
        noise: { dtype: 'float32', shape: chunk, data: own },
        t: { dtype: 'int64', shape: [batch], data: BigInt64Array.from(levels, BigInt) },
        cond: {
          dtype: 'float32',
          shape: [batch, condition],
          data: part('train.cond', batch * condition),
        },
      };
    };
    const specs = [...stored.tensors].map(([key, tensor]): ParamSpec => ({
      name: key,
      shape: tensor.shape,
      init: zeros,
      decay: true,
    }));
    const { losses, weights: final } = await train(engine, {
      learningRate: training.lr,
      betas: training.betas,
      eps: training.eps,
      weightDecay: training.weight_decay,
      steps: training.steps,
      specs,
      start: (key) => toFloat32(stored.at(key)),
      feeds: batchOf,
      loss(graph, params) {
        const noisy = graph.input('noisy', 'float32', chunk);
        const noise = graph.input('noise', 'float32', chunk);
        const t = graph.input('t', 'int64', [batch]);
        const cond = graph.input('cond', 'float32', [batch, condition]);
        return mse(conditionalUnet1d(params, shape, noisy, t, cond), noise);
      },
    });
    holdClose(
      label('twenty steps', 'train.losses'),
      { shape: [losses.length], data: losses },
      { shape: [losses.length], data: training.losses },
      toleranceOf(meta.tolerance, 'train.losses'),
    );
    for (const [key, expected] of Object.entries(training.final_weights)) {
      const data = final.get(key) ?? new Float32Array();
      const mean = (f: (x: number) => number): number =>
        data.reduce((sum, x) => sum + f(x), 0) / data.length;
      const error = Math.max(
        Math.abs(mean((x) => x) - expected.mean),
        Math.abs(mean(Math.abs) - expected.abs_mean),
      );
      hold({
        ...label('trained weights', key),
        error,
        tolerance: training.final_weights_tolerance,
      });
    }
  });
});
