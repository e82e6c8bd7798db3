/** Secrets of APIs in tests, in one process or several. */
export const PLATFORM_KEY = 'the-operators-own-key-only-for-tests';
/** What secrets in the database of a test are sealed with. */
export const SEALING_KEYS = `test:${Buffer.alloc(32, 7).toString('base64url')}`;
export const KEY_PEPPER = 'peppers the keys of this test file only';
export const AUTH_SECRET = 'signs the cookies of this test file only';
export const STORE_SECRET = 'signs the uploads of this test file only';
