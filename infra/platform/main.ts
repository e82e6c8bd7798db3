import { Command } from 'commander';
import { environmentOfParts } from './config.ts';
import { runUntilStopped } from './lifetime.ts';
import { startPlatform, type PlatformEvent } from './platform.ts';

interface Flags {
  readonly dir: string;
  readonly json?: true;
  readonly logs?: true;
}

const program = new Command('npm start --')
  .description(
    'Starts Armature on this machine: PostgreSQL, object store, API, serve, train and ingest workers.',
  )
  .option('--dir <folder>', 'where everything is kept', '.armature')
  .option('--json', 'print the URLs and the development key as one JSON line')
  .option('--logs', "print the processes' logs too, each line with its process's name");

const flags = program.parse().opts<Flags>();
const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

await runUntilStopped(async (signal, untilStopped) => {
  const platform = await startPlatform({
    dir: flags.dir,
    environment: environmentOfParts(),
    onEvent: (event) => tell(event),
    signal,
  });
  try {
    const { apiUrl, gatewayUrl, apiKey, openpi } = platform;
    if (flags.json) {
      process.stdout.write(`${JSON.stringify({ apiUrl, gatewayUrl, apiKey, openpi })}\n`);
    } else {
      process.stdout.write(`
  API       ${apiUrl}
  Gateway   ${gatewayUrl}
  openpi    host ${openpi.host}, port ${openpi.port}   (an arm with an untrained head)
  Key       ${apiKey}   (development; also in ${flags.dir}/dev.json)
  Logs      ${platform.logs}

  Ctrl-C stops it.

  export ARMATURE_API_URL=${apiUrl} ARMATURE_API_KEY=${apiKey}
  npx armature --help
`);
    }
    await untilStopped;
  } finally {
    await platform.stop();
  }
});

function tell(event: PlatformEvent): void {
  switch (event.kind) {
    case 'starting':
      say(`starting ${event.part}`);
      break;
    case 'ready':
      say(`${event.part} is ready`);
      break;
    case 'crashed':
      say(`${event.part} ended with ${event.exit}; starting it again in ${event.restartInMs} ms`);
      break;
    case 'stopping':
      say('stopping');
      break;
    case 'line':
      if (flags.logs) say(`[${event.part}] ${event.line}`);
      break;
  }
}
