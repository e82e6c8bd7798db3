import { writeSync } from 'node:fs';
import { Ledger } from '../ledger.ts';
import { MemorySink, silent, usage } from './entries.ts';

/** A process that records entries for ever and says on stdout which it may act upon. */
const [dir = '', first = '0'] = process.argv.slice(2);
const sink = new MemorySink();
sink.down = true;
const ledger = new Ledger({ dir, sink, log: silent, segmentBytes: 4096 });
for (let n = Number(first); ; n += 3) {
  await ledger.append([usage(n), usage(n + 1), usage(n + 2)]);
  writeSync(1, `${n} ${n + 1} ${n + 2}\n`);
  await new Promise((resolve) => setImmediate(resolve));
}
