/** Loaded before a worker: each SIGUSR2 sets its clock a minute on. */
const now = Date.now;
let ahead = 0;
Date.now = () => now() + ahead;
process.on('SIGUSR2', () => void (ahead += 60_000));
