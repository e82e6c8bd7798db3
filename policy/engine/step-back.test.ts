import { readdirSync, readFileSync } from 'node:fs';
import { Graph, toOnnx, matmul } from '@armature/policy/tensor';
import { expect, it } from 'vitest';
import { Engine } from './index.ts';

/** Niceness of every thread of this process, by thread. */
function nicenesses(): Map<string, number> {
  const found = new Map<string, number>();
  for (const thread of readdirSync('/proc/self/task')) {
    const stat = readFileSync(`/proc/self/task/${thread}/stat`, 'utf8');
    // After the name, which may hold anything: state is the third field, niceness the nineteenth.
    found.set(thread, Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]));
  }
  return found;
}

it.skipIf(process.platform !== 'linux')(
  'lets the threads of an engine, and no others, give way',
  async () => {
    const own = process.pid.toString();
    const before = nicenesses();
    const base = before.get(own) ?? NaN;
    const graph = new Graph('g');
    const x = graph.input('x', 'float32', [4, 4]);
    graph.output('y', matmul(x, x));
    const engine = await Engine.start({ threads: 3, niceness: 5 });
    await engine.load('g', toOnnx(graph));
    const after = nicenesses();
    const stepped = [...after].filter(([, niceness]) => niceness === Math.min(19, base + 5));
    // Its JavaScript's, and two more that the runtime has of the three.
    expect(stepped.length).toBeGreaterThanOrEqual(3);
    for (const [thread, niceness] of before) expect(after.get(thread) ?? niceness).toBe(niceness);
    await engine.close();
  },
);
