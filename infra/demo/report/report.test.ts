import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { demoSummarySchema } from '../summary.ts';
import { html } from './html.ts';
import { thin } from './lines.ts';
import { bytes, duration, short } from './numbers.ts';
import { reportPage } from './page.ts';
import { sampleReport } from './sample.ts';

describe('html', () => {
  it('escapes what is put in, and nothing twice', () => {
    const inner = html`<b>${'a < b & "c"'}</b>`;
    expect(html`<p title="${"it's"}">${inner}${[1, null, 'x>y']}</p>`.text).toBe(
      '<p title="it&#39;s"><b>a &lt; b &amp; &quot;c&quot;</b>1x&gt;y</p>',
    );
  });
});

describe('numbers', () => {
  it.each([
    [12_340, '12.3k'],
    [0.1 + 0.2, '0.3'],
    [100, '100'],
    [0.00001, '1e-5'],
    [0, '0'],
    [28.04, '28'],
  ])('writes %d as %s', (value, text) => expect(short(value)).toBe(text));

  it('writes spans and sizes for people', () => {
    expect([duration(12.34), duration(398), duration(7200)]).toEqual(['12.3 s', '6.6 min', '2 h']);
    expect([bytes(999), bytes(151_400_000)]).toEqual(['999 B', '151 MB']);
  });
});

describe('thin', () => {
  it('keeps the mean of a long series', () => {
    const points = Array.from({ length: 1000 }, (_, i) => [i, i % 10] as const);
    const few = thin(points, 100);
    expect(few).toHaveLength(100);
    expect(few.every(([, y]) => y === 4.5)).toBe(true);
  });
});

describe('the report', () => {
  it('draws each joint of the trace by itself, over the whole episode', async () => {
    const data = await sampleReport();
    const [, drawn = ''] = reportPage(data).split('Predicted against recorded joints');
    const [figure = ''] = drawn.split('</figure>');
    const paths = [...figure.matchAll(/class="line m[^"]*" d="([^"]*)"/g)].map(([, d]) => d ?? '');
    const trace = data.evaluation?.trace;
    expect(paths).toHaveLength(trace?.names.length ?? -1);
    expect(new Set(paths).size).toBe(paths.length);
    for (const d of paths) expect(d.split('L').length).toBeGreaterThan(100);
  });

  it('shows every part and asks for nothing from elsewhere', async () => {
    const data = await sampleReport();
    expect(demoSummarySchema.parse(data.summary)).toEqual(data.summary);
    const page = reportPage(data);
    expect(page).toContain('Fifty demonstrations of &lt;a bottle&gt;, served');
    for (const heading of ['In the simulator', 'Against what was held out', 'While it served']) {
      expect(page).toContain(heading);
    }
    expect(page).not.toMatch(/(src|href)="(?!data:)/);
    expect(page).not.toMatch(/url\(|@import|<script/);
    expect(page).not.toMatch(/NaN|undefined|Infinity/);
  });

  it('leaves out what does not apply', async () => {
    const data = await sampleReport();
    const page = reportPage({ ...data, evaluation: null, strip: [], closedLoop: [] });
    expect(page).not.toContain('In the simulator');
    expect(page).not.toContain('Against what was held out');
    expect(page).toContain('While it served');
  });

  it.skipIf(!existsSync(browser()))(
    `renders without errors or overflow, in light and dark (needs ${browser()})`,
    async () => {
      const folder = await mkdtemp(path.join(os.tmpdir(), 'armature-report-'));
      const file = path.join(folder, 'index.html');
      await writeFile(file, reportPage(await sampleReport()));
      const chrome = await chromium.launch({ executablePath: browser(), args: ['--no-sandbox'] });
      try {
        for (const colorScheme of ['light', 'dark'] as const) {
          for (const width of [1280, 390]) {
            const page = await chrome.newPage({ colorScheme, viewport: { width, height: 900 } });
            const problems: string[] = [];
            page.on('console', (message) => problems.push(message.text()));
            page.on('request', (request) => {
              if (!/^(file|data):/.test(request.url())) problems.push(request.url());
            });
            await page.goto(pathToFileURL(file).href);
            expect(problems).toEqual([]);
            expect(await page.locator('section h2').count()).toBe(4);
            expect(await page.locator('svg').count()).toBeGreaterThan(28);
            const { scroll, inner, broken } = await page.evaluate<Layout>(`({
              scroll: document.documentElement.scrollWidth,
              inner: innerWidth,
              broken: [...document.images].filter((image) => image.complete && !image.naturalWidth).length,
            })`);
            expect(scroll).toBeLessThanOrEqual(inner);
            expect(broken).toBe(0);
            await page.close();
          }
        }
      } finally {
        await chrome.close();
        await rm(folder, { recursive: true });
      }
    },
  );
});

interface Layout {
  readonly scroll: number;
  readonly inner: number;
  readonly broken: number;
}

/** Debian's Chromium, or the one that CHROMIUM names. */
function browser(): string {
  return process.env['CHROMIUM'] ?? '/usr/bin/chromium';
}
