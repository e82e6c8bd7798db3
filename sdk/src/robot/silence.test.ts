import { describe, expect, it } from 'vitest';
import { Silence } from './silence.ts';

describe('a path counts as dead', () => {
  it('after three questions on end that came to nothing, two seconds of them at least', () => {
    const slow = new Silence(0);
    expect([1_000, 2_000, 3_000].map((at) => slow.unanswered(at, 0))).toEqual([false, false, true]);
    const short = new Silence(0);
    const asked = Array.from({ length: 101 }, (_, i) => short.unanswered(20 * i, 0));
    expect(asked.indexOf(true)).toBe(100);
  });

  it('once for as many questions, so that nothing is replaced twice', () => {
    const silence = new Silence(0);
    const said = [5_000, 6_000, 7_000, 8_000, 9_000, 10_000].map((at) => silence.unanswered(at, 0));
    expect(said).toEqual([false, false, true, false, false, true]);
  });

  it('not while anything is heard, nor while what waits to leave becomes less', () => {
    const heard = new Silence(0);
    const loud = Array.from({ length: 50 }, (_, i) => {
      if (i % 2 === 0) heard.heard(1_000 * i);
      return heard.unanswered(1_000 * i + 500, 0);
    });
    expect(loud).not.toContain(true);
    const moves = new Silence(0);
    const slow = Array.from({ length: 50 }, (_, i) => moves.unanswered(1_000 * i, 900_000 - i));
    expect(slow.slice(1)).not.toContain(true);
    const stuck = new Silence(0);
    const dark = Array.from({ length: 5 }, (_, i) => stuck.unanswered(1_000 * i, 900_000));
    expect(dark).toContain(true);
  });
});
