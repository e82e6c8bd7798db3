/** Loaded before a worker: on SIGUSR2 the first thread that it started, the engine's, ends without being asked. */
const threads = [];
process.on('worker', (thread) => threads.push(thread));
process.on('SIGUSR2', () => void threads[0]?.terminate());
