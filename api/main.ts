import { readConfig } from './config.ts';
import { processDeps, serve } from './serve.ts';

const config = readConfig();
await serve(processDeps(config), config.env);
