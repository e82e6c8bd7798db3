import {
  allocationSchema,
  fromZodError,
  type SessionGrant,
  type WorkerAllocation,
} from '../../contract/index.ts';
import { errorFromAnswer, parseJson } from '../answers.ts';

export interface AnnounceOptions {
  readonly fetch: typeof fetch;
  /** Longest wait for the worker's answer, ms. */
  readonly timeoutMs: number;
}

/**
 * Tells a session's worker that its robot will come: the worker keeps a place for it and fetches its
 * policy meanwhile, so that the robot's first chunk does not wait for either.
 * @throws ArmatureError as the worker refuses (`unavailable`, `conflict` where the robot is there
 *   already); what `fetch` throws.
 */
export async function announceSession(
  grant: Pick<SessionGrant, 'announce_url' | 'token'>,
  { fetch, timeoutMs }: AnnounceOptions,
): Promise<WorkerAllocation> {
  const response = await fetch(grant.announce_url, {
    method: 'POST',
    headers: { authorization: `Bearer ${grant.token}` },
    redirect: 'error',
    signal: AbortSignal.timeout(timeoutMs),
  });
  const body = await response.text();
  if (!response.ok) throw errorFromAnswer(response.status, body);
  const parsed = allocationSchema.safeParse(parseJson(body));
  if (parsed.success) return parsed.data;
  throw fromZodError(parsed.error, 'internal', 'the worker’s answer does not fit the contract');
}
