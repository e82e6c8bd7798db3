/** Sizes of a model; every graph is built from one of these. */
export interface DivlaConfig {
  readonly name: 'nano';
  readonly stem: {
    /** Channels after the first layer, which sees patches of 8×8 pixels, one every 4. */
    readonly first: number;
    /** Channels of the grid, one cell every 4 pixels. */
    readonly width: number;
    /** Blocks before the instruction, and blocks that it modulates. */
    readonly plain: readonly ('shift' | 'conv')[];
    readonly modulated: readonly ('shift' | 'conv')[];
    /** Spatial soft-argmax points a view. */
    readonly points: number;
    /** Features pooled at each point. */
    readonly pooled: number;
    /** Width of the instruction's embedding. */
    readonly instruction: number;
  };
  readonly vision: {
    readonly width: number;
    readonly layers: number;
    readonly heads: number;
    /** Visual tokens of an external and of a wrist view. */
    readonly externalTokens: number;
    readonly wristTokens: number;
  };
  readonly language: {
    readonly hidden: number;
    readonly layers: number;
    readonly heads: number;
    readonly kvHeads: number;
    readonly headDim: number;
    readonly intermediate: number;
    readonly vocabulary: number;
    readonly ropeTheta: number;
    readonly normEps: number;
    /** Longest instruction and longest reasoning, in tokens. */
    readonly textTokens: number;
    readonly reasoningTokens: number;
  };
  readonly decoder: {
    /** U-Net channels by level; each level after the first halves the horizon. */
    readonly channels: readonly [number, number];
    readonly kernel: number;
    readonly groups: number;
    readonly stepEmbedding: number;
    readonly condition: number;
    /** Width of the reasoning's embedding as injected. */
    readonly reasoning: number;
  };
  readonly head: {
    /** Padded dimensions of state and action: an embodiment has at most these. */
    readonly dims: number;
    readonly stateWidth: number;
    readonly conditionHidden: number;
    readonly actionWidth: number;
    readonly actionHidden: number;
  };
  readonly diffusion: {
    readonly trainSteps: number;
    /**
     * What the decoder predicts of x = √ā·clean + √(1−ā)·noise: the noise, or the velocity
     * √ā·noise − √(1−ā)·clean (Salimans & Ho 2022), which stays well-conditioned where there is
     * little but noise, and so allows few steps and a start without noise.
     */
    readonly prediction: 'epsilon' | 'v_prediction';
    /** Bound of the predicted clean action, in normalised units. */
    readonly clip: number;
  };
  /** Largest number of external and of wrist views. */
  readonly maxViews: { readonly external: number; readonly wrist: number };
}

/**
 * The model that ships: it runs on two CPU cores. The stem sees patches and convolves, and the instruction
 * modulates it, since a small network that meets the instruction only after the vision encoder
 * does not learn to find a named object (reference: FiLM, Perez et al. 2018).
 */
export const nano: DivlaConfig = {
  name: 'nano',
  stem: {
    first: 64,
    width: 64,
    plain: ['conv'],
    modulated: ['shift', 'shift'],
    points: 16,
    pooled: 8,
    instruction: 128,
  },
  vision: { width: 128, layers: 1, heads: 4, externalTokens: 64, wristTokens: 16 },
  language: {
    hidden: 128,
    layers: 3,
    heads: 4,
    kvHeads: 2,
    headDim: 32,
    intermediate: 384,
    vocabulary: 1440,
    ropeTheta: 10_000,
    normEps: 1e-6,
    textTokens: 32,
    reasoningTokens: 32,
  },
  decoder: {
    channels: [96, 192],
    kernel: 5,
    groups: 8,
    stepEmbedding: 64,
    condition: 128,
    reasoning: 128,
  },
  head: { dims: 32, stateWidth: 128, conditionHidden: 192, actionWidth: 64, actionHidden: 128 },
  diffusion: { trainSteps: 100, prediction: 'v_prediction', clip: 1.3 },
  maxViews: { external: 2, wrist: 2 },
};

/** Views and picture size that a graph is built for. Sessions of one signature batch together. */
export interface Signature {
  readonly external: number;
  readonly wrist: number;
  readonly width: number;
  readonly height: number;
  readonly horizon: number;
}

/** Values that the stem gives for one view: points (x, y) and the features pooled there. */
export function summaryWidth(config: DivlaConfig): number {
  return config.stem.points * (2 + config.stem.pooled);
}

/** Place of view `index` among a row's view slots: externals first, then wrists. */
export function viewSlots(config: DivlaConfig, signature: Signature): number[] {
  return [
    ...Array.from({ length: signature.external }, (_, i) => i),
    ...Array.from({ length: signature.wrist }, (_, i) => config.maxViews.external + i),
  ];
}
