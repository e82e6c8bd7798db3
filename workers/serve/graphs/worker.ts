import { parentPort, workerData } from 'node:worker_threads';
import { emitGraph, type GraphBase } from '@armature/policy/runtime';
import { stepBack } from '@armature/policy/engine';
import { GRAPH_NICENESS, type GraphAnswer, type GraphQuestion } from './graph-builder.ts';

/** A graph thread: writes the graphs that it is asked for, one after the other. */
const port = parentPort;
if (port === null) throw new Error('a graph thread needs a parent');
const base = workerData as GraphBase;
stepBack(GRAPH_NICENESS);

port.on('message', ({ ticket, wanted }: GraphQuestion) => {
  const answer = answerTo(ticket, wanted);
  port.postMessage(answer, 'model' in answer ? [answer.model.buffer as ArrayBuffer] : []);
});

function answerTo(ticket: number, wanted: GraphQuestion['wanted']): GraphAnswer {
  try {
    const { model, inputs } = emitGraph(base, wanted);
    // In a buffer of its own, so that it can be handed over whole.
    return { ticket, model: new Uint8Array(model), inputs };
  } catch (error) {
    return { ticket, failure: error instanceof Error ? error.message : String(error) };
  }
}
