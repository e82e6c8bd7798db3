import { existsSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { connect, createServer as createProxy, type AddressInfo, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { ROBOT_PATH } from '@armature/sdk/contract';
import { build } from 'esbuild';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { grantFor } from '../workers/serve/testing/grant.ts';
import { armSpec } from '../workers/serve/testing/robots.ts';
import { startWorker, type TestWorker } from '../workers/serve/testing/worker.ts';

/** Debian's Chromium, or the one that CHROMIUM names. */
const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
const hasBrowser = existsSync(executablePath);
if (!hasBrowser && process.env['ARMATURE_REQUIRE_COMPAT'] === '1') {
  throw new Error(`there is no ${executablePath}, and ARMATURE_REQUIRE_COMPAT=1 asks for it`);
}
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

/** A robot whose path goes dark after its first chunk: what it asks for comes to nothing, until it moves. */
const darkScript = `(async ({ grant, spec }) => {
  const seen = () => ({
    images: { front: { pixels: new Uint8Array(64 * 48 * 3).fill(90) } },
    state: Float32Array.of(0.2, 0.1),
    instruction: 'lift the cup',
  });
  const act = () => robot.act(seen(), { deadlineMs: 1000 });
  const robot = await armature.connectRobot({ embodiment: spec, grant, resume: () => renew() });
  const before = (await act()).epoch;
  await darken();
  const lost = [];
  for (let asked = 0; asked < 60; asked += 1) {
    const chunk = await act().catch((error) => void lost.push(error.code));
    if (chunk === undefined) continue;
    await robot.close();
    return { before, after: chunk.epoch, lost: [...new Set(lost)] };
  }
  throw new Error('the robot stayed in the dark: ' + lost);
})`;

/** A way to a port that can be made to go dark: what is open then passes nothing, and is told nothing. */
function darkWay(port: number) {
  const ends: Socket[] = [];
  const open = new Set<Socket>();
  const proxy = createProxy((client) => {
    const worker = connect(port, '127.0.0.1');
    for (const [from, to] of [
      [client, worker],
      [worker, client],
    ] as const) {
      from.on('error', () => to.destroy());
      from.pipe(to);
      ends.push(from);
      open.add(from);
      from.on('close', () => open.delete(from));
    }
  });
  const darken = (): void => {
    for (const end of ends.splice(0)) end.unpipe().resume();
  };
  /** Ends what is open, dark or not: the worker would wait for it. */
  const close = (): void => {
    for (const end of open) end.destroy();
    proxy.close();
  };
  return { proxy, darken, close };
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

  it('leaves a connection that went dark, which a browser is never told', async () => {
    const { proxy, darken, close } = darkWay(worker.port);
    await once(proxy.listen(0, '127.0.0.1'), 'listening');
    const { port } = proxy.address() as AddressInfo;
    let epoch = 0;
    const renew = async () => ({
      ...(await grantFor(worker, worker.claims({ sub: 'ses_dark', epoch: epoch++ }))),
      url: `ws://127.0.0.1:${port}${ROBOT_PATH}`,
    });
    await page.exposeFunction('renew', renew);
    await page.exposeFunction('darken', darken);
    const given = JSON.stringify({ grant: await renew(), spec: armSpec() });
    const outcome = await page.evaluate(`${darkScript}(${given})`);
    expect(outcome).toEqual({ before: 0, after: 1, lost: ['timeout'] });
    close();
  });
});
