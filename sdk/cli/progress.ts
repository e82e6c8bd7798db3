import { Presets, SingleBar } from 'cli-progress';
import { note, type Output } from './output.ts';

/** A bar on a terminal; where there is none, a line now and then; nothing with `--json`. */
export interface Progress {
  /** @param share 0 to 1. @param text beside the bar. */
  update(share: number, text: string): void;
  /** A line above the bar. */
  log(line: string): void;
  end(): void;
}

/** Least time between two lines where there is no terminal, ms. */
const LINE_MS = 10_000;

export function progress(output: Output, label: string): Progress {
  return output.interactive && !output.json ? bar(output, label) : lines(output, label);
}

function bar(output: Output, label: string): Progress {
  const drawn = new SingleBar(
    {
      format: `${label} {bar} {percentage} % {text}`,
      hideCursor: true,
      stream: process.stderr,
      barsize: 24,
      fps: 8,
      etaBuffer: 1,
      emptyOnZero: true,
    },
    Presets.shades_classic,
  );
  let running = false;
  const end = (): void => {
    if (running) drawn.stop();
    running = false;
  };
  return {
    update(share, text) {
      if (!running) drawn.start(1000, 0, { text });
      running = true;
      drawn.update(Math.round(share * 1000), { text });
    },
    log(line) {
      end();
      note(output, line);
    },
    end,
  };
}

function lines(output: Output, label: string): Progress {
  let shown = '';
  let shownAt = -Infinity;
  return {
    update(share, text) {
      const line = `${label} ${Math.floor(share * 100)} % ${text}`.trimEnd();
      const now = performance.now();
      if (line === shown || (now - shownAt < LINE_MS && share < 1)) return;
      note(output, line);
      shown = line;
      shownAt = now;
    },
    log: (line) => note(output, line),
    end: () => undefined,
  };
}
