import { describe, expect, it } from 'vitest';
import { apiEnvironment } from '../test/support/api-process.ts';
import { readConfig } from './config.ts';

const environment: Record<string, string | undefined> = {
  ...apiEnvironment({
    databaseUrl: 'postgres://localhost/x',
    storeRoot: '/nowhere',
    publicUrl: 'https://api.example.com',
  }),
  PORT: '0',
};
const OIDC = {
  OIDC_ISSUER: 'https://id.example.com',
  OIDC_CLIENT_ID: 'armature',
  OIDC_CLIENT_SECRET: 'secret',
};

describe('settings', () => {
  it('name what signing in needs and does not have', () => {
    for (const [missing, name] of [
      [{ AUTH_SECRET: undefined }, 'AUTH_SECRET'],
      [{ AUTH_SECRET: 'short' }, 'AUTH_SECRET'],
      [{ MAIL_KIND: undefined }, 'MAIL_KIND'],
      [{ MAIL_KIND: 'pigeon' }, 'MAIL_KIND'],
      [{ MAIL_KIND: 'smtp', MAIL_FROM: 'a@example.com' }, 'SMTP_URL'],
      [{ MAIL_KIND: 'smtp', SMTP_URL: 'smtp://mail' }, 'MAIL_FROM'],
      [{ MAIL_KIND: 'smtp', SMTP_URL: 'https://mail', MAIL_FROM: 'a@example.com' }, 'SMTP_URL'],
      [{ ...OIDC, OIDC_CLIENT_SECRET: undefined }, 'OIDC_CLIENT_SECRET'],
      [{ ...OIDC, OIDC_ISSUER: undefined }, 'OIDC_ISSUER'],
      [{ AUTH_ORIGINS: 'https://app.example.com/path' }, 'AUTH_ORIGINS'],
      [{ TRUSTED_PROXIES: '10.0.0.0/8,nonsense' }, 'TRUSTED_PROXIES'],
    ] as const) {
      expect(() => readConfig({ ...environment, ...missing }), name).toThrow(name);
    }
  });

  it('are read as the API wants them', () => {
    const config = readConfig({
      ...environment,
      ...OIDC,
      PUBLIC_URL: 'https://api.example.com/',
      MAIL_KIND: 'smtp',
      SMTP_URL: 'smtps://user:word@mail.example.com',
      MAIL_FROM: 'Armature <no-reply@example.com>',
      AUTH_ORIGINS: 'https://app.example.com, https://staging.example.com',
      TRUSTED_PROXIES: '10.0.0.0/8,192.0.2.1',
    });
    expect(config.mail).toEqual({
      kind: 'smtp',
      url: 'smtps://user:word@mail.example.com',
      from: 'Armature <no-reply@example.com>',
    });
    expect(config.env.PUBLIC_URL).toBe('https://api.example.com');
    expect(config.people).toMatchObject({
      publicUrl: 'https://api.example.com',
      origins: ['https://app.example.com', 'https://staging.example.com'],
      trustedProxies: ['10.0.0.0/8', '192.0.2.1'],
      oidc: { issuer: 'https://id.example.com', clientId: 'armature', clientSecret: 'secret' },
    });
    expect(readConfig(environment)).toMatchObject({
      people: { oidc: null },
      mail: { kind: 'none' },
    });
  });
});
