import { existsSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { grantFor } from '../workers/serve/testing/grant.ts';
import { armSpec } from '../workers/serve/testing/robots.ts';
import { startWorker, type TestWorker } from '../workers/serve/testing/worker.ts';

/** Debian's Chromium, or the one that CHROMIUM names. */
const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
const hasBrowser = existsSync(executablePath);
if (!hasBrowser) {
  process.stderr.write(`there is no ${executablePath}: the SDK is not run in a browser here\n`);
}

interface Outcome {
  readonly rows: number;
  readonly chunks: number;
  readonly executed: number;
  readonly reasoning: string | null;
  readonly refused: string;
  readonly missing: string;
}

/** What the page does with the SDK, whose bundle is the global `armature`. */
const script = `(async ({ grant, stale, spec }) => {
  const seen = () => ({
    images: { front: { pixels: new Uint8Array(64 * 48 * 3).fill(90) } },
    state: Float32Array.of(0.2, 0.1),
    instruction: 'lift the cup',
  });
  const codeOf = (promise) => promise.then(() => 'none', (error) => error.code);
  const robot = await armature.connectRobot({ embodiment: spec, grant });
  const first = await robot.act(seen());
  const missing = await codeOf(robot.act({ ...seen(), images: {} }));
  const stats = await robot.run({ observe: seen, execute: () => {}, ticks: 30 });
  await robot.close();
  const refused = await codeOf(armature.connectRobot({ embodiment: spec, grant: stale }));
  return {
    rows: first.rows.length,
    chunks: stats.chunks,
    executed: stats.actionsExecuted,
    reasoning: first.reasoning?.text ?? null,
    refused,
    missing,
  };
})`;

describe.skipIf(!hasBrowser)('the browser bundle, in a browser', () => {
  let worker: TestWorker;
  let server: Server;
  let browser: Browser;
  let page: Page;
  const problems: string[] = [];
  beforeAll(async () => {
    worker = await startWorker();
    const { outputFiles } = await build({
      entryPoints: [fileURLToPath(new URL('../sdk/src/browser.ts', import.meta.url))],
      bundle: true,
      minify: true,
      format: 'iife',
      globalName: 'armature',
      platform: 'browser',
      write: false,
      logLevel: 'silent',
    });
    const bundle = outputFiles[0]?.text ?? '';
    server = createServer((request, response) => {
      const isScript = request.url === '/armature.js';
      response.writeHead(200, { 'Content-Type': isScript ? 'text/javascript' : 'text/html' });
      response.end(isScript ? bundle : '<!doctype html><script src="/armature.js"></script>');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('not listening');
    browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
    page = await browser.newPage();
    page.on('pageerror', (error) => problems.push(error.message));
    await page.goto(`http://127.0.0.1:${address.port}/`);
  });
  afterAll(async () => {
    await browser.close();
    server.close();
    await worker.stop();
  });

  it('connects by the subprotocol’s token, acts, runs its loop and is metered', async () => {
    const grant = await grantFor(worker, worker.claims({ sub: 'ses_browser' }));
    const given = JSON.stringify({
      grant,
      stale: { ...grant, token: 'a.b.c' },
      spec: armSpec(),
    });
    const outcome = await page.evaluate<Outcome>(`${script}(${given})`);
    expect(outcome).toMatchObject({
      rows: 8,
      reasoning: 'to lift the cup',
      missing: 'missing_camera',
      // A browser does not tell a page why a socket was refused.
      refused: 'unavailable',
    });
    expect(outcome.chunks).toBeGreaterThan(2);
    expect(outcome.executed).toBeGreaterThan(15);
    expect(problems).toEqual([]);
    await worker.ledger.flush(5000);
    const usage = [...worker.sink.entries.values()].filter((entry) => entry.kind === 'usage');
    expect(usage).toHaveLength(outcome.chunks);
  });
});
