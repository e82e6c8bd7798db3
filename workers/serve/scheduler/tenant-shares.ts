/**
 * What a tenant was served, divided by its weight (start-time fair queueing): what decides who has had
 * less than its share. A tenant that comes back from idleness starts level with the least served of
 * those at work, so that idleness is never saved up, and nobody has to wait for a newcomer either.
 */
export class TenantShares {
  private readonly tenants = new Map<string, { served: number; rows: number }>();
  /** Where a newcomer starts: the least served of those at work, and never less than before. */
  private level = 0;

  /** One more row of the tenant waits. */
  enter(tenant: string): void {
    const known = this.tenants.get(tenant);
    if (known !== undefined && known.rows > 0) {
      known.rows += 1;
      return;
    }
    this.tenants.set(tenant, { served: Math.max(known?.served ?? 0, this.level), rows: 1 });
  }

  /** A row of the tenant ran, or was taken out. */
  leave(tenant: string): void {
    const known = this.tenants.get(tenant);
    if (known === undefined) return;
    known.rows -= 1;
    if (known.rows === 0) this.raise(known.served);
  }

  /** @param amount cost of what runs, divided by the tenant's weight */
  charge(tenant: string, amount: number): void {
    const known = this.tenants.get(tenant);
    if (known === undefined) return;
    known.served += amount;
    this.raise(known.served);
  }

  served(tenant: string): number {
    return this.tenants.get(tenant)?.served ?? 0;
  }

  /** The least that any of these has been served; 0 for none. */
  least(tenants: readonly string[]): number {
    return tenants.length === 0 ? 0 : Math.min(...tenants.map((tenant) => this.served(tenant)));
  }

  /** Lifts the level to the least served at work, or where nobody is, to what the last one had. */
  private raise(last: number): void {
    let least = Infinity;
    for (const { rows, served } of this.tenants.values()) {
      if (rows > 0) least = Math.min(least, served);
    }
    this.level = Math.max(this.level, least === Infinity ? last : least);
    for (const [tenant, { rows, served }] of this.tenants) {
      if (rows === 0 && served <= this.level) this.tenants.delete(tenant);
    }
  }
}
