/** The report's only style sheet; colours follow the reader's light or dark setting. */
export const style = `
:root {
  color-scheme: light dark;
  --ground: #fbfaf7; --card: #ffffff; --ink: #1d2126; --soft: #5c6570; --line: #e3e0d8;
  --grid: #ecebe5; --a: #1f6f8b; --b: #d9792b; --c: #7b5ea7; --d: #3f8f5f; --muted: #a7adb5;
  --a-soft: #1f6f8b22; --bad: #b6423c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --card: #1b1f25; --ink: #e8e6e1; --soft: #9aa4b0; --line: #2b3038;
    --grid: #262b32; --a: #5fb3cf; --b: #f0a35e; --c: #b39ddb; --d: #7fc99b; --muted: #6a727d;
    --a-soft: #5fb3cf26; --bad: #e58a84;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 ui-sans-serif, system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', sans-serif;
  font-variant-numeric: tabular-nums;
}
main { max-width: 1120px; margin: 0 auto; padding: 56px 24px 96px; }
header { margin-bottom: 36px; }
.kicker { color: var(--a); font-size: 13px; font-weight: 600; letter-spacing: .08em;
  text-transform: uppercase; margin: 0 0 8px; }
h1 { font-size: clamp(28px, 4vw, 42px); line-height: 1.12; letter-spacing: -.02em; margin: 0 0 10px;
  text-wrap: balance; }
h2 { font-size: 24px; letter-spacing: -.01em; margin: 64px 0 6px; }
h3 { font-size: 15px; margin: 0 0 2px; }
p { margin: 0 0 12px; max-width: 72ch; }
.lead, .note { color: var(--soft); }
.note { font-size: 14px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px;
  margin: 24px 0 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 14px 16px; }
.tile b { display: block; font-size: 24px; line-height: 1.25; letter-spacing: -.02em; font-weight: 600; white-space: nowrap; }
.tile span { color: var(--soft); font-size: 13px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr));
  gap: 16px; margin-top: 20px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 18px 20px 14px; min-width: 0; }
.card.wide { grid-column: 1 / -1; }
figure { margin: 0; }
figcaption { color: var(--soft); font-size: 13.5px; margin: 0 0 10px; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font: 11.5px ui-sans-serif, system-ui, sans-serif; fill: var(--soft);
  font-variant-numeric: tabular-nums; }
svg .value { fill: var(--ink); font-weight: 600; }
svg .grid { stroke: var(--grid); } svg .axis { stroke: var(--line); }
svg .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg .thin { stroke-width: 1.4; } svg .line.m { stroke-width: 3; }
.a { --tone: var(--a); } .b { --tone: var(--b); } .c { --tone: var(--c); } .d { --tone: var(--d); }
.m { --tone: var(--muted); }
svg .line { stroke: var(--tone); } svg .fill { fill: var(--tone); } svg text.tone { fill: var(--tone);
  font-weight: 600; }
svg .band { fill: var(--a-soft); } svg .whisker { stroke: var(--tone); stroke-width: 2; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 13px; color: var(--soft);
  margin: 0 0 8px; padding: 0; list-style: none; }
.legend li::before { content: ''; display: inline-block; width: 14px; height: 3px; border-radius: 2px;
  background: var(--tone); margin-right: 6px; vertical-align: middle; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { padding: 7px 12px 7px 0; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { color: var(--soft); font-weight: 500; font-size: 13px; }
tr.ours td { font-weight: 600; color: var(--a); }
.multiples { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 14px 20px; }
.multiples h4 { margin: 0; font-size: 12.5px; font-weight: 500; color: var(--soft); }
details { margin-top: 14px; } summary { cursor: pointer; color: var(--soft); font-size: 14px; }
details[open] summary { margin-bottom: 12px; }
.strip { display: flex; gap: 10px; overflow-x: auto; padding-bottom: 10px; scroll-snap-type: x mandatory; }
.strip figure { flex: 0 0 210px; scroll-snap-align: start; }
.strip img { width: 100%; border-radius: 8px; display: block; background: var(--grid); }
.strip figcaption { margin: 6px 0 0; font-size: 12.5px; line-height: 1.4; }
.strip time { color: var(--ink); font-weight: 600; margin-right: 6px; }
.episode { display: grid; grid-template-columns: minmax(150px, 220px) 1fr; gap: 16px; padding: 14px 0;
  border-top: 1px solid var(--line); align-items: start; }
.episode:first-of-type { border-top: 0; }
.episode .strip figure { flex-basis: 128px; }
.episode .strip img { image-rendering: pixelated; aspect-ratio: 1; }
.badge { display: inline-block; font-size: 12px; font-weight: 600; border-radius: 99px; padding: 1px 9px;
  background: var(--a-soft); color: var(--a); }
.badge.miss { color: var(--bad); background: color-mix(in srgb, var(--bad) 14%, transparent); }
blockquote { margin: 0; padding: 8px 0 8px 14px; border-left: 3px solid var(--a); }
blockquote small { color: var(--soft); display: block; }
footer { margin-top: 72px; padding-top: 18px; border-top: 1px solid var(--line); color: var(--soft);
  font-size: 13.5px; }
@media (max-width: 640px) { .episode { grid-template-columns: 1fr; } main { padding-top: 32px; } }
`;
