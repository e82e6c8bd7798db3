import type { Graph, Tensor } from '../../tensor/index.ts';
import type { DivlaConfig, Signature } from '../config.ts';

/** Where a graph's rows come from: its own inputs, or a share of them. */
export type RowInputs = Pick<Graph, 'input'>;

/** Views, instruction and which views are there: inputs that every graph of a row has. */
export interface ViewInputs {
  readonly images: Tensor;
  readonly tokens: Tensor;
  readonly tokenMask: Tensor;
  readonly present: Tensor;
}

export function viewCount(signature: Signature): number {
  return signature.external + signature.wrist;
}

/** @param rows instructions; @param pictures views are shared by rows / pictures instructions each */
export function viewInputs(
  graph: RowInputs,
  config: DivlaConfig,
  signature: Signature,
  rows: number,
  pictures = rows,
): ViewInputs {
  const views = viewCount(signature);
  const { textTokens } = config.language;
  return {
    images: graph.input('images', 'uint8', [pictures, views, signature.height, signature.width, 3]),
    tokens: graph.input('tokens', 'int64', [rows, textTokens]),
    tokenMask: graph.input('token_mask', 'float32', [rows, textTokens]),
    present: graph.input('present', 'float32', [rows, views]),
  };
}

/** Proprioception: normalised state, command relative to it or velocity, and whether that is known. */
export function bodyInputs(
  graph: RowInputs,
  config: { readonly head: Pick<DivlaConfig['head'], 'dims'> },
  rows: number,
) {
  const { dims } = config.head;
  return {
    state: graph.input('state', 'float32', [rows, dims]),
    command: graph.input('command', 'float32', [rows, dims]),
    known: graph.input('known', 'float32', [rows, 1]),
  };
}
