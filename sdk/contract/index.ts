export * from './embodiment.ts';
export * from './errors.ts';
export * from './evaluation.ts';
export * from './ndarray.ts';
export * from './resources.ts';
export * from './routes.ts';
export * from './session-token.ts';
export * from './wire.ts';
