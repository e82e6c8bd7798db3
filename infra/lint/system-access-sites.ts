/** Every file that may see all tenants' rows, each for a reason that its call names. */
export const SYSTEM_ACCESS: ReadonlySet<string> = new Set<string>([
  // Claims the next job of any tenant.
  'db/jobs.ts',
  // Takes the next work of the queue, whoever's, and looks after the queue itself.
  'db/queue.ts',
  // Lists the tenants that a sweep goes through.
  'db/all-tenants.ts',
]);
