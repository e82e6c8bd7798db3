import { gather, reshape, type DType, type Graph, type Tensor } from '../tensor/index.ts';
import type { RowInputs } from '../divla/graphs/inputs.ts';

/**
 * A batch taken in equal shares, one a pass. Rows lie in order of slots, equally many each; a pass takes
 * its share of every slot's rows, so that its rows lie in order of slots as well.
 */
export interface Sharing {
  readonly slots: number;
  readonly passes: number;
}

/** The inputs of a whole batch, of which passes see shares. */
export class BatchInputs {
  private readonly graph: Graph;
  private readonly sharing: Sharing;
  private readonly declared = new Map<string, Tensor>();

  constructor(graph: Graph, sharing: Sharing) {
    this.graph = graph;
    this.sharing = sharing;
  }

  /** The input of all rows: the first axis of `shape` counts all of them. */
  whole(name: string, dtype: DType, shape: readonly number[]): Tensor {
    const known = this.declared.get(name);
    if (known !== undefined) return known;
    const input = this.graph.input(name, dtype, shape);
    this.declared.set(name, input);
    return input;
  }

  /** The rows of one pass: the first axis of a shape counts these. @param pass int64 scalar */
  share(pass: Tensor | undefined): RowInputs {
    const { slots, passes } = this.sharing;
    return {
      input: (name, dtype, shape) => {
        const [count = 1, ...rest] = shape;
        const all = this.whole(name, dtype, [count * passes, ...rest]);
        if (pass === undefined) return all;
        const apart = reshape(all, [slots, passes, count / slots, ...rest]);
        return reshape(gather(apart, pass, 1), shape);
      },
    };
  }
}

/**
 * Place among the spoken rows of a slot of the slot's row `row`, or undefined where the language model does
 * not read it: each pass reads the first of its share.
 * @param rows of the slot
 * @param spoken of the slot
 */
export function spokenPlace(
  row: number,
  { rows, spoken, passes }: { rows: number; spoken: number; passes: number },
): number | undefined {
  const [share, each] = [rows / passes, spoken / passes];
  const within = row % share;
  return within < each ? Math.floor(row / share) * each + within : undefined;
}
