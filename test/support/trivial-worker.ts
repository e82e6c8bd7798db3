import type { ActResult, ActRow } from '../../workers/serve/policies/index.ts';
import { FakeRuntime } from '../../workers/serve/testing/fake-runtime.ts';
import { armSpec } from '../../workers/serve/testing/robots.ts';
import { startWorker } from '../../workers/serve/testing/worker.ts';

/**
 * A whole serve worker around the policy that bench/peers/openpi/server.py has, of a given cost a run however many rows
 * it has. Prints its port and as many tokens as clients will come.
 */
const [runMs, clients] = process.argv.slice(2).map(Number) as [number, number];

class TrivialRuntime extends FakeRuntime {
  override async act(rows: readonly ActRow[]): Promise<ActResult[]> {
    if (runMs > 0) await new Promise((resolve) => setTimeout(resolve, runMs));
    return rows.map((row) => ({ actions: new Float32Array(16).fill(row.state[0] ?? 0) }));
  }
}

const worker = await startWorker({ runtime: new TrivialRuntime() });
const limits = { max_in_flight: 4, max_hz: 100_000 };
const tokens = await Promise.all(
  Array.from({ length: clients }, (_, i) =>
    worker.issuer.sign(
      worker.claims({
        sub: `ses_${i}`,
        reasoning: { when: 'off' },
        limits,
        embodiment: { id: 'emb', spec: armSpec() },
      }),
    ),
  ),
);
process.stdout.write(`${JSON.stringify({ port: worker.port, tokens })}\n`);
