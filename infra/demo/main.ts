import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { environmentOfParts, runUntilStopped, startPlatform } from '../platform/index.ts';
import { machineLine } from './machine.ts';
import { readOptions, type DemoOptions } from './options.ts';
import type { Outcome } from './outcome.ts';
import { runRecorded } from './recorded/index.ts';
import { reportPage } from './report/page.ts';
import { Screen } from './screen.ts';
import { runSimulated } from './simulated/index.ts';
import { demoSummarySchema } from './summary.ts';
import { printTables } from './tables.ts';
import { newTenant } from './tenant.ts';

const argv = process.argv.slice(2);
const options = readOptions(argv);
const screen = new Screen();

await runUntilStopped(async (signal, untilStopped) => {
  screen.heading('The platform');
  const platform = await startPlatform({
    dir: options.dir,
    environment: environmentOfParts(),
    signal,
    onEvent: (event) => {
      if (event.kind === 'starting') screen.line(`starting ${event.part}`);
      if (event.kind === 'crashed') {
        screen.line(`${event.part} ended with ${event.exit} and is started again`);
      }
    },
  });
  try {
    screen.line(`API ${platform.apiUrl} · gateway ${platform.gatewayUrl}`);
    const { client, key, id } = await newTenant(platform, 'demo', signal);
    screen.line(`tenant ${id}, with a key of its own`);
    const credentials = { apiUrl: platform.apiUrl, apiKey: key };
    const stage = { client, credentials, screen, signal };
    const outcome =
      options.dataset === undefined
        ? await runSimulated(stage, options, path.join(options.dir, 'demo'))
        : await runRecorded(stage, { ...options, dataset: options.dataset });
    await present(outcome, options);
    if (options.keep) {
      screen.line(`The platform keeps running; Ctrl-C stops it. Logs: ${platform.logs}`);
      await untilStopped;
    }
  } finally {
    await platform.stop();
  }
});

/** Tables on the screen, the report, and the JSON if it is asked for. */
async function present(outcome: Outcome, { dir, json }: DemoOptions): Promise<void> {
  const summary = demoSummarySchema.parse(outcome.summary);
  screen.heading('Results');
  printTables(screen, summary, outcome.evaluation, outcome.closedLoop);
  const file = path.resolve(dir, 'report', 'index.html');
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(
    file,
    reportPage({
      ...outcome,
      summary,
      command: ['npm run demo', ...(argv.length === 0 ? [] : ['--', ...argv])].join(' '),
      machine: machineLine(),
      date: new Date().toISOString().slice(0, 10),
    }),
  );
  screen.line(`report: ${pathToFileURL(file).href}`);
  if (json !== undefined) await writeFile(json, `${JSON.stringify(summary, null, 2)}\n`);
}
