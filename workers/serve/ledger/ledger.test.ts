import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Backlog } from './backlog.ts';
import { EpochFence } from './epoch-fence.ts';
import type { LedgerSink } from './flusher.ts';
import { Ledger, type LedgerOptions } from './ledger.ts';
import { segmentNumbers, segmentPath } from './segments.ts';
import { MemorySink, silent, usage } from './testing/entries.ts';

let dir: string;
let sink: MemorySink;
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'armature-ledger-'));
  sink = new MemorySink();
});
afterEach(() => rmSync(dir, { recursive: true }));

const open = (over: Partial<LedgerOptions> = {}) =>
  new Ledger({ dir, sink, log: silent, segmentBytes: 2000, flushMs: 10, ...over });
const ids = () => [...sink.entries.values()].map((entry) => entry.id);

describe('a sink that never answers', () => {
  it('does not keep the ledger from trying again', async () => {
    const stuck = mkdtempSync(path.join(tmpdir(), 'armature-ledger-'));
    const sink = new MemorySink();
    let asked = 0;
    const first: LedgerSink = {
      write: (entries) => {
        asked += 1;
        return asked === 1 ? new Promise(() => undefined) : sink.write(entries);
      },
    };
    const ledger = new Ledger({ dir: stuck, sink: first, log: silent, writeTimeoutMs: 20 });
    await ledger.append([usage(1)]);
    expect(await ledger.flush(60_000)).toBe(true);
    expect([asked, sink.entries.size]).toEqual([2, 1]);
    await ledger.close();
    rmSync(stuck, { recursive: true });
  });
});

describe('Ledger', () => {
  it('carries what is recorded to the sink and leaves nothing behind', async () => {
    const ledger = open();
    for (let n = 0; n < 50; n++) await ledger.append([usage(n)]);
    expect(await ledger.flush(2000)).toBe(true);
    expect(ids()).toHaveLength(50);
    await ledger.close();
    expect(segmentNumbers(dir)).toEqual([]);
  });

  it('keeps on through an outage of the sink, in bounded memory', async () => {
    sink.down = true;
    const ledger = open();
    await Promise.all(Array.from({ length: 200 }, (_, n) => ledger.append([usage(n)])));
    expect(await ledger.flush(60)).toBe(false);
    for (let n = 200; n < 260; n++) await ledger.append([usage(n)]);
    sink.down = false;
    expect(await ledger.flush(2000)).toBe(true);
    expect(new Set(ids()).size).toBe(260);
    await ledger.close();
  });

  it('knows how much waits and for how long, over processes, and says when it is too much', async () => {
    const onFile = () =>
      segmentNumbers(dir).reduce((sum, n) => sum + statSync(segmentPath(dir, n)).size, 0);
    sink.down = true;
    const first = open({ maxBytes: 10_000 });
    expect([first.backlog.bytes, first.backlog.ageMs]).toEqual([0, 0]);
    await first.append([usage(0)]);
    expect(first.refusal()).toBeUndefined();
    for (let n = 1; n < 60; n++) await first.append([usage(n)]);
    expect(first.backlog.bytes).toBe(onFile());
    expect(first.refusal()).toMatch(/^records of \d+ bytes wait for the database, the oldest for/);
    await first.close();
    const second = open({ maxBytes: 10_000 });
    expect(second.backlog.bytes).toBe(onFile());
    expect(second.refusal()).toBeDefined();
    sink.down = false;
    expect(await second.flush(2000)).toBe(true);
    expect([second.backlog.bytes, second.backlog.ageMs]).toEqual([0, 0]);
    expect(second.refusal()).toBeUndefined();
    expect(new Set(ids()).size).toBe(60);
    await second.close();
  });

  it('goes on where an earlier process stopped', async () => {
    sink.down = true;
    const first = open();
    for (let n = 0; n < 30; n++) await first.append([usage(n)]);
    await first.close();
    expect(segmentNumbers(dir).length).toBeGreaterThan(2);
    sink.down = false;
    const second = open();
    await second.append([usage(30)]);
    expect(await second.flush(2000)).toBe(true);
    expect(ids()).toEqual(Array.from({ length: 31 }, (_, n) => `ses_1:0:${n}`));
    await second.close();
  });

  it('drops a torn last line with a word in the log, and keeps the lines before it', async () => {
    writeFileSync(
      segmentPath(dir, 7),
      `${JSON.stringify(usage(1))}\n${JSON.stringify(usage(2)).slice(0, 40)}`,
    );
    const warn = vi.fn();
    const ledger = open({ log: { ...silent, warn } });
    expect(await ledger.flush(2000)).toBe(true);
    expect(ids()).toEqual(['ses_1:0:1']);
    expect(warn).toHaveBeenCalledWith({ segment: 7, bytes: 40 }, expect.stringContaining('cut'));
    await ledger.close();
  });

  it('sets aside what can never be written, so that it blocks nothing', async () => {
    writeFileSync(segmentPath(dir, 1), `not json\n${JSON.stringify(usage(1))}\n`);
    sink.refuse = (entry) => entry.id === 'ses_1:0:2';
    const ledger = open();
    await ledger.append([usage(2), usage(3)]);
    expect(await ledger.flush(2000)).toBe(true);
    expect(ids()).toEqual(['ses_1:0:1', 'ses_1:0:3']);
    const aside = readFileSync(path.join(dir, 'rejected.jsonl'), 'utf8').trim().split('\n');
    expect(aside).toHaveLength(2);
    expect(aside[0]).toContain('not json');
    await ledger.close();
  });

  it('loses nothing that was acted upon when the process is killed, again and again', async () => {
    const acted = new Set<string>();
    const script = new URL('./testing/appender.ts', import.meta.url).pathname;
    for (let round = 0; round < 2; round++) {
      const child = spawn(
        process.execPath,
        ['--import', 'tsx', script, dir, String(round * 1_000_000)],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      let told = '';
      child.stdout.on('data', (data: Buffer) => {
        told += data.toString();
        if (told.length > 3000 + round * 777) child.kill('SIGKILL');
      });
      await once(child, 'close');
      const whole = told.slice(0, told.lastIndexOf('\n'));
      whole.split(/\s/).forEach((n) => acted.add(`ses_1:0:${n}`));
    }
    const ledger = open();
    expect(await ledger.flush(10_000)).toBe(true);
    const kept = new Set(ids());
    expect([...acted].filter((id) => !kept.has(id))).toEqual([]);
    // One turn a process may be on file without having been acted upon.
    expect(kept.size - acted.size).toBeLessThanOrEqual(6);
    await ledger.close();
    expect(readdirSync(dir).filter((name) => name.startsWith('segment'))).toEqual([]);
  });
});

describe('Backlog', () => {
  it('is as old as the oldest record that waits', () => {
    let now = 50_000;
    const backlog = new Backlog(100, 20_000, () => now);
    expect(backlog.ageMs).toBe(20_000);
    backlog.wrote(50);
    now += 3_000;
    backlog.wrote(50);
    backlog.settle(100);
    expect([backlog.bytes, backlog.ageMs]).toEqual([100, 3_000]);
    backlog.settle(50);
    expect(backlog.ageMs).toBe(0);
    now += 9_000;
    expect(backlog.ageMs).toBe(9_000);
    backlog.settle(50);
    expect([backlog.bytes, backlog.ageMs]).toEqual([0, 0]);
    backlog.wrote(1);
    expect(backlog.ageMs).toBe(0);
  });
});

describe('EpochFence', () => {
  it('remembers spent epochs across processes, and forgets them when no token can be left', () => {
    let now = 1e12;
    const first = new EpochFence(dir, () => now);
    expect(first.highestSpent('a')).toBeUndefined();
    first.spend('a', 1);
    first.spend('a', 2);
    appendFileSync(path.join(dir, 'epochs.jsonl'), '{"session":"torn');
    expect(new EpochFence(dir, () => now).highestSpent('a')).toBe(2);
    now += 2 * 3_600_000;
    expect(new EpochFence(dir, () => now).highestSpent('a')).toBeUndefined();
  });
});
