import { Command } from 'commander';
import { addAccess } from './commands/access.ts';
import { addDatasets } from './commands/datasets.ts';
import { addEmbodiments } from './commands/embodiments.ts';
import { addFinetunes } from './commands/finetunes.ts';
import { addKeys } from './commands/keys.ts';
import { addModels } from './commands/models.ts';
import { addPeople } from './commands/people.ts';
import { addPolicies } from './commands/policies.ts';
import { addRecords } from './commands/records.ts';
import { addSessions } from './commands/sessions.ts';
import { addUsage } from './commands/usage.ts';
import { addWebhooks } from './commands/webhooks.ts';
import type { Runner } from './context.ts';

/** The command line `armature`: its commands, options and help. */
export function buildProgram(
  version: string,
  write: { readonly out: (text: string) => void; readonly err: (text: string) => void },
  run: Runner,
): Command {
  const program = new Command('armature')
    .description('Robot policies: demonstrations in, a served policy out.')
    .version(version)
    .option('--json', 'print data as JSON, on stdout alone')
    .option('--api-url <url>', 'address of the control plane')
    .option('--api-key <key>', 'key of the tenant')
    .showHelpAfterError('(add --help for what there is)')
    .exitOverride()
    .configureOutput({ writeOut: write.out, writeErr: write.err })
    .addHelpText(
      'after',
      `
Address and key: options, then ARMATURE_API_URL and ARMATURE_API_KEY, then what \`armature login\`
stored, then .armature/dev.json of a platform started in this folder.
Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted, 143 terminated.
`,
    );
  addAccess(program, run);
  addKeys(program, run);
  addPeople(program, run);
  addEmbodiments(program, run);
  addDatasets(program, run);
  addFinetunes(program, run);
  addPolicies(program, run);
  addSessions(program, run);
  addRecords(program, run);
  addUsage(program, run);
  addWebhooks(program, run);
  addModels(program, run);
  return program;
}
