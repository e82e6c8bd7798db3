/** Graphs of the model, made beside the engines in threads of their own. */
export { GraphBuilder, type GraphBuilderOptions } from './graph-builder.ts';
