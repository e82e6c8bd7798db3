import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ObservationQueue, type Waiting } from './queue.ts';

type Row = Waiting<number>;

let made = 0;
function row(session: string, over: Partial<Row> = {}): Row {
  made += 1;
  return {
    session,
    tenant: session.split('.')[0] ?? session,
    lane: 'act',
    group: 'g',
    deadline: made,
    expires: Infinity,
    inFlightLimit: 1,
    weight: 1,
    cost: 1,
    job: made,
    ...over,
  };
}

const queue = (maxRows = 4, quantum = 4) => new ObservationQueue<number>({ maxRows, quantum });
const sessions = (rows: readonly Row[]) => rows.map((r) => r.session);

describe('ObservationQueue', () => {
  it("replaces a session's older observation by its newer one, in its lane only", () => {
    const q = queue();
    const old = row('a');
    expect(q.offer(old)).toBeUndefined();
    expect(q.offer(row('a', { lane: 'reason' }))).toBeUndefined();
    const fresh = row('a');
    expect(q.offer(fresh)).toBe(old);
    expect(q.take(['act'], 0).rows).toEqual([fresh]);
    expect(q.size).toBe(1);
  });

  it('runs what waits at once, earliest deadline first, and only one group together', () => {
    const q = queue(2);
    q.offer(row('a', { deadline: 30 }));
    q.offer(row('b', { deadline: 10 }));
    q.offer(row('c', { deadline: 5, group: 'other' }));
    q.offer(row('d', { deadline: 20 }));
    expect(sessions(q.take(['act'], 0).rows)).toEqual(['c']);
    expect(sessions(q.take(['act'], 0).rows)).toEqual(['b', 'd']);
    expect(sessions(q.take(['act'], 0).rows)).toEqual(['a']);
    expect(q.take(['act'], 0).rows).toEqual([]);
  });

  it('gives expired rows back and never runs them', () => {
    const q = queue();
    q.offer(row('a', { expires: 100 }));
    q.offer(row('b', { expires: 101 }));
    const taken = q.take(['act'], 100);
    expect(sessions(taken.expired)).toEqual(['a']);
    expect(sessions(taken.rows)).toEqual(['b']);
  });

  it('holds the in-flight limit of a session', () => {
    const q = queue();
    const first = row('a', { inFlightLimit: 2 });
    q.offer(first);
    q.take(['act'], 0);
    q.offer(row('a', { inFlightLimit: 2 }));
    expect(q.take(['act'], 0).rows).toHaveLength(1);
    q.offer(row('a', { inFlightLimit: 2 }));
    expect(q.take(['act'], 0).rows).toHaveLength(0);
    q.release(first);
    expect(q.take(['act'], 0).rows).toHaveLength(1);
  });

  it('holds the in-flight limit of a tenant over all engines', () => {
    const q = new ObservationQueue<number>({ maxRows: 4, quantum: 4, tenantLimit: 3 });
    for (const name of ['a.1', 'a.2', 'a.3', 'a.4', 'b.1']) q.offer(row(name));
    const first = q.take(['act'], 0).rows;
    expect(sessions(first)).toEqual(['a.1', 'a.2', 'a.3', 'b.1']);
    expect(q.take(['act'], 0).rows).toEqual([]);
    q.release(first[0]!);
    expect(sessions(q.take(['act'], 0).rows)).toEqual(['a.4']);
  });

  it('leaves out of a run what does not fit it, and goes on with the next', () => {
    const q = new ObservationQueue<number>({
      maxRows: 4,
      quantum: 4,
      fits: (jobs) => !jobs.includes(-1) && jobs.length <= 2,
    });
    q.offer(row('a'));
    q.offer(row('b', { job: -1 }));
    q.offer(row('c'));
    q.offer(row('d'));
    expect(sessions(q.take(['act'], 0).rows)).toEqual(['a', 'c']);
    expect(sessions(q.take(['act'], 0).rows)).toEqual(['b']);
    expect(sessions(q.take(['act'], 0).rows)).toEqual(['d']);
  });

  it('serves the lanes that it is asked for', () => {
    const q = queue();
    q.offer(row('a', { lane: 'reason', group: 'reason' }));
    expect(q.take(['act'], 0).rows).toEqual([]);
    expect(q.take(['act', 'reason'], 0).rows).toHaveLength(1);
  });

  it('takes out what a session that left has waiting', () => {
    const q = queue();
    q.offer(row('a'));
    q.offer(row('a', { lane: 'reason' }));
    q.offer(row('b'));
    expect(q.withdraw('a')).toHaveLength(2);
    expect(sessions(q.take(['act'], 0).rows)).toEqual(['b']);
  });

  it('never loses, invents or doubles a row', () => {
    const event = fc.oneof(
      fc.record({ offer: fc.integer({ min: 0, max: 9 }), due: fc.integer({ min: 1, max: 50 }) }),
      fc.constant('take' as const),
      fc.constant('release' as const),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 200 }), (events) => {
        const q = queue(3, 2);
        const offered = new Set<Row>();
        const settled = new Set<Row>();
        const running: Row[] = [];
        const settle = (r: Row) => {
          expect(offered.has(r)).toBe(true);
          expect(settled.has(r)).toBe(false);
          settled.add(r);
        };
        let now = 0;
        for (const e of [...events, 'release' as const, 'take' as const]) {
          now += 1;
          if (e === 'take') {
            const { rows, expired } = q.take(['act'], now);
            expect(rows.length).toBeLessThanOrEqual(3);
            expect(new Set(rows.map((r) => r.session)).size).toBe(rows.length);
            [...rows, ...expired].forEach(settle);
            running.push(...rows);
          } else if (e === 'release') {
            running.splice(0).forEach((r) => q.release(r));
          } else {
            const r = row(`t${e.offer % 3}.${e.offer}`, { expires: now + e.due });
            offered.add(r);
            const replaced = q.offer(r);
            if (replaced !== undefined) settle(replaced);
          }
        }
        expect(offered.size - settled.size).toBe(q.size);
      }),
    );
  });
});

describe('fairness between tenants', () => {
  /** Runs saturated: every session asks again as soon as it was served. Returns rows a tenant. */
  function saturate(
    robots: Record<string, number>,
    runs: number,
    urgent: string,
    of: (tenant: string) => Partial<Pick<Row, 'weight' | 'cost'>> = () => ({}),
  ): Record<string, number> {
    const q = queue(4, 4);
    let now = 0;
    const ask = (session: string) => {
      const slack = session.startsWith(urgent) ? 1 : 50;
      const [tenant = ''] = session.split('.');
      q.offer(row(session, { deadline: now + slack, ...of(tenant) }));
    };
    for (const [tenant, count] of Object.entries(robots)) {
      for (let i = 0; i < count; i++) ask(`${tenant}.${i}`);
    }
    const served: Record<string, number> = {};
    for (let i = 0; i < runs; i++) {
      now += 10;
      const { rows } = q.take(['act'], now);
      for (const r of rows) {
        served[r.tenant] = (served[r.tenant] ?? 0) + 1;
        q.release(r);
        ask(r.session);
      }
    }
    return served;
  }

  it('gives a small tenant its share beside a flood with tighter deadlines', () => {
    const served = saturate({ big: 40, small: 2 }, 500, 'big');
    expect(served['small']).toBeGreaterThan(900);
    expect((served['small'] ?? 0) + (served['big'] ?? 0)).toBe(2000);
  });

  it('shares by weight', () => {
    const weight = (tenant: string) => (tenant === 'a' ? 3 : 1);
    const served = saturate({ a: 20, b: 20 }, 600, 'b', (tenant) => ({ weight: weight(tenant) }));
    expect((served['a'] ?? 0) / (served['b'] ?? 1)).toBeCloseTo(3, 1);
  });

  it('shares the engines’ time, not their rows: one whose rows cost twice gets half as many', () => {
    const cost = (tenant: string) => (tenant === 'dear' ? 2 : 1);
    const served = saturate({ dear: 20, cheap: 20 }, 600, 'dear', (tenant) => ({
      cost: cost(tenant),
    }));
    expect((served['cheap'] ?? 0) / (served['dear'] ?? 1)).toBeCloseTo(2, 1);
  });

  it('fills the run with a tenant that is ahead rather than leave it empty', () => {
    const served = saturate({ only: 40 }, 100, 'none');
    expect(served['only']).toBe(400);
  });

  it('neither rewards nor punishes idleness', () => {
    const q = queue(1, 1);
    const run = () => {
      const { rows } = q.take(['act'], 0);
      rows.forEach((r) => q.release(r));
      return rows[0]?.tenant;
    };
    for (let i = 0; i < 50; i++) {
      q.offer(row('old.1'));
      run();
    }
    const order: (string | undefined)[] = [];
    q.offer(row('new.1'));
    q.offer(row('old.1'));
    for (let i = 0; i < 20; i++) {
      const tenant = run();
      order.push(tenant);
      q.offer(row(`${String(tenant)}.1`));
    }
    expect(order.filter((t) => t === 'old').length).toBeGreaterThan(7);
    expect(order.filter((t) => t === 'new').length).toBeGreaterThan(7);
  });
});
