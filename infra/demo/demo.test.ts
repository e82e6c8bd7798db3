import { describe, expect, it, vi } from 'vitest';
import { quantile } from './latency.ts';
import { readOptions } from './options.ts';
import { reasoningSummary } from './outcome.ts';
import { evaluationSummary } from './recorded/evaluation-summary.ts';
import { sampleReport } from './report/sample.ts';
import { Screen } from './screen.ts';
import { servingSummary } from './serving.ts';
import { evalSummarySchema } from './summary.ts';
import { printTables } from './tables.ts';

describe('the command line', () => {
  it('has defaults for everything', () => {
    expect(readOptions([])).toEqual({
      reference: 'state',
      ablate: false,
      curve: false,
      keep: false,
      dir: '.armature',
    });
  });

  it('reads every option', () => {
    const words = '--dataset a --heldout b --reference last_command --ablate --seconds 30 --keep';
    expect(readOptions([...words.split(' '), '--json', 'x.json', '--dir', 'd'])).toEqual({
      dataset: 'a',
      heldout: 'b',
      reference: 'last_command',
      ablate: true,
      curve: false,
      seconds: 30,
      keep: true,
      json: 'x.json',
      dir: 'd',
    });
  });

  it.each([
    ['--heldout b', '--heldout needs --dataset'],
    ['--ablate', '--ablate needs --dataset and --heldout'],
    ['--dataset a --curve', '--curve is for the simulator'],
    ['--seconds -3', 'must be a number above 0'],
    ['--reference sideways', 'Allowed choices are state, last_command'],
  ])('refuses %s', (words, complaint) => {
    const said: string[] = [];
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => said.push(String(text)) > 0);
    vi.spyOn(process, 'exit').mockImplementation((code) => {
      throw new Error(`exit ${String(code)}`);
    });
    expect(() => readOptions(words.split(' '))).toThrow('exit 1');
    vi.restoreAllMocks();
    expect(said.join('')).toContain(complaint);
  });
});

describe('the screen without a terminal', () => {
  it('says headings and lines, and where a task is only now and then', async () => {
    const said: string[] = [];
    const screen = new Screen(false, (text) => said.push(text));
    screen.heading('First');
    screen.line('a line');
    await screen.task('work', async (progress) => {
      progress.update(0.1, 'early');
      for (let share = 0.2; share < 1; share += 0.1) progress.update(share, 'more');
      progress.done('all of it');
    });
    screen.heading('Second');
    expect(said.map((text) => text.trim().replace(/ {2,}/g, ' '))).toEqual([
      '1. First',
      'a line',
      'work 10 % early',
      'work 100 % all of it',
      '2. Second',
    ]);
  });
});

describe('figures', () => {
  it('interpolates quantiles', () => {
    expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
    expect(quantile([5], 0.99)).toBe(5);
  });

  it('adds up what streams beside each other came to', () => {
    const stream = (chunks: number, seconds: number) => ({
      sessionId: 's',
      seconds,
      latencies: [10, 20],
      starvedTicks: 1,
      reasoning: [],
      received: { chunks, actions: chunks * 16 },
    });
    expect(servingSummary([stream(30, 3), stream(50, 4)], 16)).toEqual({
      chunks: 80,
      chunks_per_s: 20,
      actions_per_s: 320,
      p50_ms: 15,
      p99_ms: 20,
      starved_ticks: 2,
    });
  });

  it('puts the reasoning that drove most chunks first', () => {
    const record = (id: string, chunks: number) => ({
      ...{ id, chunks, session_id: 'ses', text: id, source: 'policy', tokens: 3 },
      created_at: '2026-01-01T00:00:00Z',
    });
    expect(reasoningSummary([record('few', 1), record('many', 9)]).map((one) => one.id)).toEqual([
      'many',
      'few',
    ]);
  });

  it('takes the evaluation that --json gives from that of the job', async () => {
    const { evaluation } = await sampleReport();
    if (evaluation === null) throw new Error('the sample has an evaluation');
    const summary = evaluationSummary(evaluation, evaluation);
    expect(evalSummarySchema.parse(summary)).toEqual(summary);
    expect(summary.noimage8).toEqual(evaluation.mean8);
    expect(evaluationSummary(evaluation, null)).not.toHaveProperty('noimage8');
  });

  it('prints every predictor and every variant in its tables', async () => {
    const said: string[] = [];
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => said.push(String(text)) > 0);
    const { summary, evaluation, closedLoop } = await sampleReport();
    printTables(new Screen(false, () => undefined), summary, evaluation, closedLoop);
    vi.restoreAllMocks();
    const all = said.join('');
    for (const text of [
      'ridge regression',
      '0.120',
      'other object named',
      '98 % (92 % to 100 %)',
    ]) {
      expect(all).toContain(text);
    }
    expect(all).not.toMatch(/NaN|undefined/);
  });
});
