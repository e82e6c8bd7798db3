import { Command, InvalidArgumentError, Option } from 'commander';

/** What the demo is asked to do. */
export interface DemoOptions {
  readonly dataset?: string;
  readonly heldout?: string;
  readonly reference: 'state' | 'last_command';
  readonly ablate: boolean;
  readonly curve: boolean;
  readonly json?: string;
  readonly keep: boolean;
  /** Longest training of one fine-tune, seconds. */
  readonly seconds?: number;
  readonly dir: string;
}

/** Reads the command line; prints the help and ends the process where it asks for that. */
export function readOptions(argv: readonly string[]): DemoOptions {
  const program = new Command('npm run demo --')
    .description(
      'Turns demonstrations into a served policy on this machine and measures it.\n' +
        'Without --dataset it records its own demonstrations in the simulator.',
    )
    .option('--dataset <folder>', 'a LeRobot v2.1 data set to fine-tune on')
    .option('--heldout <folder>', 'a data set to evaluate on, never trained on')
    .addOption(
      new Option('--reference <what>', 'with --dataset: what actions are relative to')
        .choices(['state', 'last_command'])
        .default('state'),
    )
    .option('--ablate', 'also train without pictures', false)
    .option('--curve', 'simulator: also fine-tune on 5, 10 and 20 demonstrations', false)
    .option('--seconds <n>', 'stop each training after n seconds', positive)
    .option('--json <file>', 'write the measurements as JSON')
    .option('--keep', 'keep the platform running at the end', false)
    .option('--dir <folder>', "the platform's folder", '.armature');
  program.parse(argv, { from: 'user' });
  const options = program.opts<DemoOptions>();
  if (options.heldout !== undefined && options.dataset === undefined) {
    program.error('error: --heldout needs --dataset');
  }
  if (options.ablate && options.heldout === undefined) {
    program.error('error: --ablate needs --dataset and --heldout');
  }
  if (options.curve && options.dataset !== undefined) {
    program.error('error: --curve is for the simulator, without --dataset');
  }
  return options;
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('must be a number above 0');
  return value;
}
