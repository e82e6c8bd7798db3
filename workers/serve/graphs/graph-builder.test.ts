import { readFileSync } from 'node:fs';
import { baseWeightsUrl, loadBase } from '@armature/policy/checkpoint';
import { Engine } from '@armature/policy/engine';
import { PolicyRuntime, type GraphRequest } from '@armature/policy/runtime';
import { expect, it } from 'vitest';
import { makePolicy } from '../../../test/support/served-policy.ts';
import { blankRow } from '../policies/blank-row.ts';
import { armSpec } from '../testing/robots.ts';
import { GraphBuilder } from './graph-builder.ts';

it('makes graphs whose answers have the same bits as those that are made where they run', async () => {
  const base = loadBase(readFileSync(baseWeightsUrl('nano')));
  const engine = await Engine.start({ threads: 1, spin: false });
  const graphs = await GraphBuilder.start({ base });
  const policy = { digest: 'one', ...makePolicy(base, armSpec(), 3) };
  // One row, packed with the base's trunk, and three, whose graph is handed it.
  for (const [kind, count] of [
    ['reasonAndAct', 1],
    ['act', 3],
  ] as const) {
    const answers = [];
    for (const [name, source] of [
      [`here-${count}`, {}],
      [`beside-${count}`, { graphs }],
    ] as const) {
      const runtime = await PolicyRuntime.create({
        engine,
        base,
        name,
        buckets: [1, 4],
        ...source,
      });
      const handle = await runtime.load(policy);
      const blank = blankRow({ digest: 'one', handle, manifest: policy.manifest }, false);
      const rows = Array.from({ length: count }, (_, seed) => ({ ...blank, seed }));
      answers.push(await runtime[kind](rows));
      await runtime.close();
    }
    expect(answers[1]).toEqual(answers[0]);
  }
  const refused = graphs.build({ kind: 'nothing' } as unknown as GraphRequest);
  await expect(refused).rejects.toMatchObject({ code: 'load_failed' });
  await graphs.close();
  await expect(graphs.build({} as GraphRequest)).rejects.toMatchObject({ code: 'crashed' });
  await engine.close();
});
