import { readConfig } from '../../api/config.ts';
import { processDeps, serve } from '../../api/serve.ts';
import { steppedClock } from './stepped-clock.ts';

/** The API's process as `api/main.ts` starts it, but by the clock that `CLOCK_FILE` steps. */
const config = readConfig();
const clock = steppedClock(process.env['CLOCK_FILE'] ?? '');
await serve({ ...processDeps(config), clock }, config.env);
