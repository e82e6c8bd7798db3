import { Webhook } from 'standardwebhooks';

/** Secrets of an endpoint, the newest first. */
export interface Message {
  readonly id: string;
  readonly body: string;
  readonly at: Date;
}

/** The headers of Standard Webhooks; a receiver that knows any of the secrets verifies them. */
export function signedHeaders(
  { id, body, at }: Message,
  secrets: readonly string[],
): Record<string, string> {
  return {
    'content-type': 'application/json',
    'user-agent': 'armature-webhooks/1',
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': secrets.map((secret) => new Webhook(secret).sign(id, at, body)).join(' '),
  };
}
