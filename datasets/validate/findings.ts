import { ArmatureError, type Finding } from '@armature/sdk/contract';

/** Findings of one code that a report spells out; of the rest it has the number and the episodes. */
const SHOWN = 20;
/** Episodes of the rest that are kept: as many as a set can be accepted without. */
const MOST_EPISODES = 10_000;
/** Runs of episodes that a message names. */
const MOST_RUNS = 20;

/** Errors that the set is to blame for, and what a finding calls them. */
const FAULTS: ReadonlyMap<string, string> = new Map([
  ['invalid_dataset', 'broken_file'],
  ['not_found', 'missing_file'],
  ['checksum_mismatch', 'checksum_mismatch'],
  ['incomplete_upload', 'incomplete_upload'],
  ['payload_too_large', 'too_large'],
]);

/** Whether the set is to blame, so that checking goes on; anything else stops the check. */
export const isFault = (error: unknown): error is ArmatureError =>
  error instanceof ArmatureError && FAULTS.has(error.code);

/** Collects what is wrong with a set, without repeating one fault for every one of its episodes. */
export class Findings {
  readonly #items: Finding[] = [];
  readonly #more = new Map<string, { first: Finding; count: number; episodes: Set<number> }>();
  readonly #counts = new Map<string, number>();

  add(finding: Finding): void {
    const count = (this.#counts.get(finding.code) ?? 0) + 1;
    this.#counts.set(finding.code, count);
    if (count <= SHOWN) {
      this.#items.push(finding);
      return;
    }
    const more = this.#more.get(finding.code) ?? { first: finding, count: 0, episodes: new Set() };
    this.#more.set(finding.code, more);
    more.count += 1;
    if (finding.episode !== undefined && more.episodes.size < MOST_EPISODES) {
      more.episodes.add(finding.episode);
    }
  }

  /** A file that cannot be read: missing, or broken where `error.field` says. */
  addFault(error: ArmatureError, where: { episode?: number; feature?: string }): void {
    this.add({
      severity: 'error',
      code: FAULTS.get(error.code) ?? error.code,
      message: error.message,
      fix: error.fix ?? 'Export the data set again.',
      ...where,
    });
  }

  get hasErrors(): boolean {
    return this.#items.some((finding) => finding.severity === 'error');
  }

  /** Errors first, each kind in the order found. */
  list(): Finding[] {
    const rest = [...this.#more.values()].map(({ first, count, ...more }) => {
      const episodes = [...more.episodes].sort((a, b) => a - b);
      const where = episodes.length === 0 ? '' : `, in episodes ${inRuns(episodes)}`;
      return {
        severity: first.severity,
        code: first.code,
        message: `${count} more findings of this kind${where}`,
        fix: first.fix,
        ...(episodes.length === 0 ? {} : { episodes }),
      };
    });
    const all = [...this.#items, ...rest];
    return [
      ...all.filter((finding) => finding.severity === 'error'),
      ...all.filter((finding) => finding.severity === 'warning'),
    ];
  }
}

/** Numbers in order as people write them: `3, 7-9`. */
function inRuns(numbers: readonly number[]): string {
  const runs: { from: number; to: number }[] = [];
  for (const number of numbers) {
    const last = runs.at(-1);
    if (last?.to === number - 1) last.to = number;
    else runs.push({ from: number, to: number });
  }
  const said = runs
    .slice(0, MOST_RUNS)
    .map(({ from, to }) => (from === to ? String(from) : `${from}-${to}`));
  return [...said, ...(runs.length > MOST_RUNS ? ['…'] : [])].join(', ');
}
