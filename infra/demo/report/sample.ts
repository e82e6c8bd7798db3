import type { Evaluation } from '@armature/sdk/contract';
import sharp from 'sharp';
import type { Picture, ReportData } from './data.ts';

/** Made-up measurements in the report's shape, for its tests; the same every time. */
export async function sampleReport(): Promise<ReportData> {
  const picture = await gradient('jpeg', 320, 240);
  const small = await gradient('png', 64, 64);
  const rate = (name: string, share: number) => ({
    name,
    rate: share,
    interval: [Math.max(0, share - 0.06), Math.min(1, share + 0.03)] as const,
  });
  const evaluation = sampleEvaluation();
  const { sample, mean8, served, hold, hold_command, mean, ridge, blank8 } = evaluation;
  return {
    title: 'Fifty demonstrations of <a bottle>, served',
    lead: 'Made-up figures in the shape of the real ones.',
    command: 'npm run demo -- --dataset a --heldout b',
    machine: '2 cores of a test',
    date: '2026-01-01',
    summary: {
      dataset: { name: 'sample', episodes: 50, frames: 16_975 },
      ingest: { frames_per_s: 812.4, peak_rss_mb: 410 },
      train: {
        mode: 'full',
        steps: 1750,
        samples_per_s: 281.3,
        seconds: 398.2,
        first_loss: 1.02,
        last_loss: 0.041,
      },
      eval: {
        ...{ reference: 'state', chunks: 2182, sample, mean8, served, hold, hold_command },
        ...{ mean, ridge, blank8, noimage8: { mse: 0.094, l1: 0.17 } },
        episodes: evaluation.episodes.map(({ index, mean8_mse, hold_mse }) => ({
          index,
          mean8_mse,
          hold_mse,
        })),
        ci95: {
          mean8_mse: evaluation.ci95.mean8_mse,
          blank8_minus_mean8_mse: evaluation.ci95.blank8_minus_mean8_mse,
        },
      },
      serve: {
        chunks: 610,
        chunks_per_s: 29.8,
        actions_per_s: 476.8,
        p50_ms: 18.2,
        p99_ms: 31.7,
        starved_ticks: 0,
      },
      usage: { actions: 9760, chunks: 610 },
      reasoning: [
        { id: 'r1', text: 'reach for the bottle', source: 'policy', chunks: 301 },
        { id: 'r2', text: 'close the right hand', source: 'policy', chunks: 309 },
      ],
    },
    trainings: [
      {
        name: 'g1',
        points: Array.from({ length: 1750 }, (_, step) => ({
          step,
          loss: 1.1 * Math.exp(-step / 400) + 0.05,
          action_loss: Math.exp(-step / 420) + 0.04 + 0.02 * Math.sin(step),
          reasoning_loss: 3 * Math.exp(-step / 150) + 0.01,
        })),
      },
    ],
    evaluation,
    strip: Array.from({ length: 9 }, (_, index) => ({
      at_s: index * 1.3,
      picture,
      reasoning: index === 0 ? null : index < 5 ? 'reach for the bottle' : 'close the right hand',
    })),
    latencies: Array.from(
      { length: 610 },
      (_, i) => 16 + 4 * Math.sin(i) + (i % 97 === 0 ? 14 : 0),
    ),
    closedLoop: [
      {
        embodiment: 'trio',
        description: 'Three joints and a gripper, one external camera and one at the wrist',
        n: 100,
        rates: [
          rate('before', 0.02),
          rate('after', 0.97),
          rate('pictures blanked', 0.03),
          rate('other object named', 0.98),
        ],
        curve: [5, 10, 20].map((demos) => ({ demos, rate: rate('', demos / 25) })),
        episodes: [true, false].map((success) => ({
          instruction: 'touch the red object',
          success,
          frames: Array.from({ length: 6 }, (_, index) => ({
            step: index * 8,
            picture: small,
            reasoning: index === 5 ? null : 'go to the red one, on the left',
          })),
        })),
      },
    ],
  };
}

function sampleEvaluation(): Evaluation {
  const names = Array.from({ length: 26 }, (_, joint) => `joint_${joint}`);
  const pair = (mse: number) => ({ mse, l1: Math.sqrt(mse) * 0.6 });
  const scores = (scale: number) => ({
    sample: pair(0.114 * scale),
    mean8: pair(0.08 * scale),
    served: { ...pair(0.071 * scale), steps: 5, noise_scale: 0.4 },
    hold: pair(0.183 * scale),
    hold_command: pair(0.058 * scale),
    mean: pair(1.385 * scale),
    ridge: pair(0.12 * scale),
    blank8: pair(0.218 * scale),
  });
  const steps = Array.from({ length: 300 }, (_, step) => step);
  return {
    reference: 'state',
    episodes_used: 6,
    chunks: 2182,
    ...scores(1),
    moving: { dimensions: names.slice(7, 14), ...scores(1.5) },
    episodes: Array.from({ length: 6 }, (_, index) => ({
      index,
      chunks: 360,
      mean8_mse: 0.06 + index * 0.01,
      served_mse: 0.05 + index * 0.01,
      hold_mse: 0.18,
    })),
    ci95: {
      mean8_mse: [0.062, 0.101],
      served_mse: [0.055, 0.091],
      blank8_minus_mean8_mse: [0.09, 0.18],
    },
    served_mse_by_step: Array.from({ length: 16 }, (_, step) => 0.02 + step * 0.006),
    trace: {
      episode: 3,
      names,
      predicted: names.map((_, joint) => steps.map((t) => Math.sin(t / 40 + joint) + 0.02)),
      recorded: names.map((_, joint) => steps.map((t) => Math.sin(t / 40 + joint))),
    },
  };
}

async function gradient(format: 'jpeg' | 'png', width: number, height: number): Promise<Picture> {
  const pixels = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 7) % 251);
  const image = sharp(pixels, { raw: { width, height, channels: 3 } });
  return { type: `image/${format}`, bytes: await image.toFormat(format).toBuffer() };
}
