import { readFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { baseWeightsUrl, loadBase, readManifest } from '@armature/policy/checkpoint';
import { Engine } from '@armature/policy/engine';
import { PolicyRuntime } from '@armature/policy/runtime';
import { openStore } from '@armature/storage';
import { z } from 'zod';
import { systemClock } from '../clock.ts';
import { tokenVerifier } from '../gateway/index.ts';
import { GraphBuilder } from '../graphs/index.ts';
import { ImagePool } from '../images/index.ts';
import { Ledger } from '../ledger/index.ts';
import { MemorySink, silent } from '../ledger/testing/entries.ts';
import { startServe } from '../start.ts';

/** A worker in a process of its own, whole but for the database: the real model, real pictures. */
const settings = z
  .object({ jwksUrl: z.string(), root: z.string() })
  .parse(JSON.parse(process.argv[2] ?? ''));

const buckets = [1, 2, 4, 8];
const base = loadBase(readFileSync(baseWeightsUrl('nano')));
const engine = await Engine.start({ threads: 2 });
const graphs = await GraphBuilder.start({ base });
const { gateway } = await startServe({
  worker: 'load',
  host: '127.0.0.1',
  port: 0,
  maxSessions: 100,
  buckets,
  policySlots: 4,
  admissionFill: 1000,
  runtime: await PolicyRuntime.create({ engine, graphs, base, buckets, slots: 4 }),
  store: openStore({
    kind: 'disk',
    root: settings.root,
    publicUrl: 'http://x',
    secret: 'only-for-tests-and-long-enough-so',
  }),
  readManifest,
  verify: tokenVerifier(settings.jwksUrl),
  images: await ImagePool.start(2, () => undefined),
  ledger: new Ledger({
    dir: await mkdtemp(path.join(tmpdir(), 'armature-load-')),
    sink: new MemorySink(),
    log: silent,
  }),
  clock: systemClock,
  log: silent,
});
process.stdout.write(`${JSON.stringify({ port: gateway.port })}\n`);
