import OpenAI, { APIConnectionError, APIError, APIUserAbortError } from 'openai';
import { ArmatureError, type EmbodimentSpec } from '@armature/sdk/contract';
import { throwIfCancelled } from '../cancel.ts';
import type { Dataset, Label } from '../dataset.ts';
import { encodePng } from '../video/png.ts';
import { annotateFromJoints } from './from-joints.ts';

/** An OpenAI-compatible endpoint that sees pictures. Nothing is sent unless one is configured. */
export interface VisionEndpoint {
  /** Base address, e.g. `https://api.openai.com/v1`. */
  readonly url: string;
  readonly key: string;
  readonly model: string;
  /** For one answer, in ms; 60 s when absent. */
  readonly timeoutMs?: number;
}

export interface VisionOptions {
  readonly camera: string;
  readonly signal?: AbortSignal;
}

const LONGEST_ANSWER = 200;

/**
 * Sub-task sentences by a vision model: the segments of `annotateFromJoints`, each described by the
 * model from its first, middle and last picture. Labels carry the source `vision:<model>`.
 * @throws ArmatureError `invalid_request` (refused: key, model, address), `unavailable` (no
 * connection, overload), `cancelled`, and what reading the episode throws.
 */
export async function annotateWithVision(
  endpoint: VisionEndpoint,
  dataset: Dataset,
  episodeIndex: number,
  spec: EmbodimentSpec,
  options: VisionOptions,
): Promise<Label[]> {
  const client = new OpenAI({
    baseURL: endpoint.url,
    apiKey: endpoint.key,
    timeout: endpoint.timeoutMs ?? 60_000,
    maxRetries: 2,
    // Settings come from the caller alone, never from OPENAI_* variables.
    organization: null,
    project: null,
  });
  const episode = await dataset.readEpisode(episodeIndex);
  const segments = annotateFromJoints(episode, spec, dataset.fps);
  const wanted = new Set(segments.flatMap(keyFrames));
  const pictures = new Map<number, string>();
  await dataset.decodeFrames(
    episodeIndex,
    options.camera,
    async (t, rgb, width, height) => {
      if (!wanted.has(t)) return;
      const png = await encodePng(rgb, width, height);
      pictures.set(t, `data:image/png;base64,${Buffer.from(png).toString('base64')}`);
    },
    options.signal === undefined ? {} : { signal: options.signal },
  );

  const labels: Label[] = [];
  for (const segment of segments) {
    throwIfCancelled(options.signal);
    const images = keyFrames(segment).flatMap((t) => pictures.get(t) ?? []);
    const text = await ask(client, endpoint, episode.instruction, segment.text, images, options);
    labels.push({ ...segment, text, source: `vision:${endpoint.model}` });
  }
  return labels;
}

const keyFrames = ({ from, to }: Label): number[] => [
  ...new Set([from, Math.floor((from + to - 1) / 2), to - 1]),
];

async function ask(
  client: OpenAI,
  endpoint: VisionEndpoint,
  task: string,
  motion: string,
  images: readonly string[],
  options: VisionOptions,
): Promise<string> {
  try {
    const answer = await client.chat.completions.create(
      {
        model: endpoint.model,
        temperature: 0,
        max_completion_tokens: 80,
        messages: [
          {
            role: 'system',
            content:
              'You see a robot at work in pictures in order of time. Answer with one short ' +
              'sentence in the imperative that says what it is doing, with which part, to which object.',
          },
          {
            role: 'user',
            content: [
              { type: 'text', text: `Task: ${task}\nMeasured motion: ${motion}` },
              ...images.map((url) => ({
                type: 'image_url' as const,
                image_url: { url, detail: 'low' as const },
              })),
            ],
          },
        ],
      },
      options.signal === undefined ? {} : { signal: options.signal },
    );
    const text = (answer.choices[0]?.message.content ?? '').replaceAll(/\s+/g, ' ').trim();
    if (text === '') {
      throw new ArmatureError('unavailable', `${endpoint.model} gave an empty answer`, {
        field: 'vision_endpoint',
        fix: 'Choose a model that answers about pictures.',
      });
    }
    return text.slice(0, LONGEST_ANSWER);
  } catch (error) {
    throw toArmatureError(error, options.signal);
  }
}

function toArmatureError(error: unknown, signal: AbortSignal | undefined): unknown {
  if (error instanceof APIUserAbortError) {
    return new ArmatureError('cancelled', 'labelling was cancelled', { cause: signal?.reason });
  }
  if (error instanceof APIConnectionError) {
    return new ArmatureError(
      'unavailable',
      `the vision endpoint did not answer: ${error.message}`,
      {
        field: 'vision_endpoint',
        fix: 'Check the address of the vision endpoint, or label from joints.',
        cause: error,
      },
    );
  }
  if (error instanceof APIError) {
    const status: unknown = error.status;
    const refused = typeof status === 'number' && status < 500 && status !== 429;
    return new ArmatureError(
      refused ? 'invalid_request' : 'unavailable',
      `the vision endpoint refused: ${error.message}`,
      {
        field: 'vision_endpoint',
        fix: refused
          ? 'Check key, model and address of the vision endpoint.'
          : 'Try again later, or label from joints.',
        cause: error,
      },
    );
  }
  return error;
}
