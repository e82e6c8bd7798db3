import { getIP } from 'better-auth/api';
import { describe, expect, it } from 'vitest';
import { ADDRESS_HEADER, addressChain } from './address.ts';

const PROXIES = ['10.0.0.0/8', '192.0.2.1'];
/** The address that a caller is counted by. */
function counted(connection: string, forwardedFor?: string, trustedProxies: string[] = []) {
  const chain = addressChain(connection, forwardedFor, trustedProxies.length > 0);
  const headers = new Headers(chain === undefined ? {} : { [ADDRESS_HEADER]: chain });
  const ipAddress = { ipAddressHeaders: [ADDRESS_HEADER], trustedProxies };
  return getIP(headers, { advanced: { ipAddress } });
}

describe('a caller’s address', () => {
  it('is that of the connection where no proxy is trusted, whatever a header says', () => {
    expect(counted('203.0.113.9')).toBe('203.0.113.9');
    expect(counted('203.0.113.9', '198.51.100.1')).toBe('203.0.113.9');
    expect(counted('::ffff:203.0.113.9')).toBe('203.0.113.9');
  });

  it('is what the last proxy that is trusted saw', () => {
    expect(counted('10.1.2.3', '203.0.113.9', PROXIES)).toBe('203.0.113.9');
    expect(counted('10.1.2.3', '203.0.113.9, 192.0.2.1', PROXIES)).toBe('203.0.113.9');
    // What a caller puts there itself stands further back.
    expect(counted('10.1.2.3', '1.1.1.1, 203.0.113.9', PROXIES)).toBe('203.0.113.9');
    expect(counted('203.0.113.9', '198.51.100.1', PROXIES)).toBe('203.0.113.9');
  });

  it('is that of a network where IPv6 gives a household many', () => {
    expect(counted('2001:db8:1:2:3:4:5:6')).toBe(counted('2001:db8:1:2::1'));
    expect(counted('2001:db8:1:2::1')).not.toBe(counted('2001:db8:1:3::1'));
  });
});
