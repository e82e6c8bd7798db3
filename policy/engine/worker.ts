import { parentPort, workerData } from 'node:worker_threads';
import { EngineError } from './errors.ts';
import { Gate } from './gate.ts';
import type { Call, Reply, Request, WorkerData } from './protocol.ts';
import { stepBack } from './step-back.ts';
import { Sessions } from './sessions.ts';
import { pack } from './value.ts';
import type { Values } from './value.ts';

/** The worker thread of an engine: answers its calls one after the other. */

if (parentPort === null) throw new Error('the engine worker runs in a worker thread only');
const port = parentPort;
const { settings, gate: memory } = workerData as WorkerData;
// Before any session, whose threads take it over.
stepBack(settings.niceness);
const sessions = new Sessions(settings);
const gate = new Gate(memory);

async function perform(call: Call): Promise<Values> {
  switch (call.kind) {
    case 'start':
      if (call.probe !== undefined) await sessions.probe(call.probe);
      return {};
    case 'load':
      await sessions.load(call.id, call.model, call.options);
      return {};
    case 'optimise':
    case 'stats':
      return {};
    case 'unload':
      await sessions.unload(call.id);
      return {};
    case 'run':
      return sessions.run(call.id, call.feeds, call.options);
    case 'step':
      return sessions.step(call.id, call.feeds, call.options);
    case 'descend':
      return sessions.descend(call.id, call.feeds, call.options);
    case 'hold':
      sessions.hold(call.key, call.start, call.parts);
      return {};
    case 'put':
      sessions.put(call.key, call.values);
      return {};
    case 'patch':
      sessions.patch(call.key, call.name, call.offset, call.data);
      return {};
    case 'drop':
      sessions.drop(call.key);
      return {};
    case 'read':
      return sessions.read(call.key, call.names);
    case 'close':
      await sessions.close();
      return {};
  }
}

async function answer({ ticket, call }: Request): Promise<void> {
  try {
    if (call.kind === 'optimise') {
      const model = await sessions.optimise(call.model);
      send({ ticket, model }, [model.buffer]);
      return;
    }
    const values = await perform(call);
    if (call.kind === 'stats') {
      send({ ticket, stats: sessions.stats() });
      return;
    }
    const parcel = pack(values, true);
    send({ ticket, values: parcel.values }, parcel.transfer);
  } catch (error) {
    send({ ticket, failure: failureOf(error) });
  }
}

function send(reply: Reply, transfer: ArrayBuffer[] = []): void {
  port.postMessage(reply, transfer);
}

function failureOf(error: unknown): Extract<Reply, { failure: unknown }>['failure'] {
  if (error instanceof EngineError) {
    return { code: error.code, message: error.message, session: error.session };
  }
  const message = error instanceof Error ? error.message : String(error);
  return { code: 'run_failed', message, session: undefined };
}

/** An abandoned engine waits for no answer: only the call that ends the thread is still made. */
async function pass(request: Request): Promise<void> {
  if (request.call.kind === 'close') {
    await answer(request);
    port.close();
  } else if (gate.enter()) {
    await answer(request);
    gate.leave();
  }
}

let last: Promise<void> = Promise.resolve();
port.on('message', (request: Request) => {
  last = last.then(() => pass(request));
});
