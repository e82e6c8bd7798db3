/** Every file that may see all tenants' rows, each for a reason that its call names. */
export const SYSTEM_ACCESS: ReadonlySet<string> = new Set<string>([
  // Claims the next job of any tenant.
  'db/jobs.ts',
]);
