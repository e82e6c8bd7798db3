import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { smallSpec, writeSmallDataset } from '../../test/support/small-dataset.ts';
import { annotateFromJoints, annotateWithVision, fromDirectory, openDataset } from '../index.ts';

interface ChatRequest {
  model: string;
  messages: { role: string; content: string | { type: string; image_url?: { url: string } }[] }[];
}

describe('annotateWithVision', () => {
  let set: Awaited<ReturnType<typeof writeSmallDataset>>;
  let requests: { authorization: string | undefined; body: ChatRequest }[] = [];
  let status = 200;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as ChatRequest;
      requests.push({ authorization: request.headers.authorization, body });
      response.writeHead(status, { 'content-type': 'application/json' });
      const content = ` Reach for\nthe disc, step ${requests.length}. `;
      response.end(
        status === 200
          ? JSON.stringify({ choices: [{ index: 0, message: { role: 'assistant', content } }] })
          : JSON.stringify({ error: { message: 'no such model' } }),
      );
    });
  });
  const endpoint = () => ({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    key: 'a-key',
    model: 'a-model',
  });

  beforeAll(async () => {
    set = await writeSmallDataset();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterAll(async () => {
    server.close();
    await set.remove();
  });
  beforeEach(() => {
    requests = [];
    status = 200;
  });

  it('describes each segment from its pictures', async () => {
    const dataset = await openDataset(fromDirectory(set.directory));
    const labels = await annotateWithVision(endpoint(), dataset, 0, smallSpec, { camera: 'top' });
    const segments = annotateFromJoints(await dataset.readEpisode(0), smallSpec, dataset.fps);
    expect(labels).toEqual(
      segments.map(({ from, to }, index) => ({
        from,
        to,
        text: `Reach for the disc, step ${index + 1}.`,
        source: 'vision:a-model',
      })),
    );
    expect(requests[0]?.authorization).toBe('Bearer a-key');
    expect(requests[0]?.body.model).toBe('a-model');
    const content = requests[0]?.body.messages[1]?.content;
    const images = Array.isArray(content)
      ? content.flatMap((part) => (part.image_url === undefined ? [] : [part.image_url.url]))
      : [];
    expect(images).toHaveLength(3);
    const png = Buffer.from((images[0] ?? '').replace('data:image/png;base64,', ''), 'base64');
    expect(png.subarray(1, 4).toString()).toBe('PNG');
    expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([48, 48]);
  });

  it('names the endpoint when it refuses or is not there', async () => {
    const dataset = await openDataset(fromDirectory(set.directory));
    status = 404;
    await expect(
      annotateWithVision(endpoint(), dataset, 0, smallSpec, { camera: 'top' }),
    ).rejects.toMatchObject({ code: 'invalid_request', field: 'vision_endpoint' });
    await expect(
      annotateWithVision(
        { ...endpoint(), url: 'http://127.0.0.1:1/v1', timeoutMs: 500 },
        dataset,
        0,
        smallSpec,
        { camera: 'top' },
      ),
    ).rejects.toMatchObject({ code: 'unavailable', field: 'vision_endpoint' });
  });

  it('stops when it is cancelled', async () => {
    const dataset = await openDataset(fromDirectory(set.directory));
    await expect(
      annotateWithVision(endpoint(), dataset, 0, smallSpec, {
        camera: 'top',
        signal: AbortSignal.abort(),
      }),
    ).rejects.toMatchObject({ code: 'cancelled' });
    expect(requests).toHaveLength(0);
  });
});
