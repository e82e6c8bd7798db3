import { describe, expect, it } from 'vitest';
import { isBrokenConnection } from './broken-connection.ts';

describe('isBrokenConnection', () => {
  it('knows the driver’s own error, and takes no other for it', () => {
    const error = new TypeError("Cannot read properties of null (reading 'write')");
    error.stack = `${String(error)}\n    at Immediate.nextWrite (file:///app/node_modules/postgres/src/connection.js:255:22)`;
    expect(isBrokenConnection(error)).toBe(true);
    expect(isBrokenConnection(new TypeError(error.message))).toBe(false);
    expect(isBrokenConnection(new Error('nextWrite'))).toBe(false);
    expect(isBrokenConnection(undefined)).toBe(false);
  });
});
