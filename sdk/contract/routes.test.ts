import { describe, expect, it } from 'vitest';
import { webhookSchema } from './resources.ts';
import { routes } from './routes.ts';

describe('the address of a webhook', () => {
  const parse = (url: string) =>
    routes['webhooks.create'].input.parse({ url, events: ['dataset.ready'] }).url;

  it.each([
    ['https://example.com/hook?a=b', 'https://example.com/hook?a=b'],
    ['https://exämple.com/ä b', 'https://xn--exmple-cua.com/%C3%A4%20b'],
    ['http://localhost', 'http://localhost/'],
  ])('is kept in the form that every reader knows: %s', (given, kept) => {
    expect(parse(given)).toBe(kept);
    expect(webhookSchema.shape.url.safeParse(kept).success).toBe(true);
  });

  it.each(['https://a:b@example.com/', 'http://example.com/', 'ftp://example.com/', 'hook'])(
    'is refused where it is no https address without a password: %s',
    (url) => {
      expect(() => parse(url)).toThrow();
    },
  );
});
