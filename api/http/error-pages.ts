import { errorCodes, errorCodeSchema, type ErrorCode } from '@armature/sdk/contract';
import type { Hono } from 'hono';
import { html } from 'hono/html';
import type { HttpEnv } from './rest.ts';

/** What each code means, and what there is to do about it: the pages that `type` of a problem links. */
const pages: Readonly<Record<ErrorCode, { readonly means: string; readonly remedy: string }>> = {
  invalid_request: {
    means:
      'A field of the request is missing, of another type or out of its range; `field` names it.',
    remedy: 'Change that field as `fix` says and send the request again.',
  },
  missing_key: {
    means: 'The request carries no API key.',
    remedy: 'Send `Authorization: Bearer ark_v1_…`.',
  },
  invalid_key: {
    means: 'The key is not known: mistyped, revoked, or of another kind than this call takes.',
    remedy: 'Make a key with `armature keys create`; a key is shown once.',
  },
  expired_key: {
    means: 'The key’s last day has passed, or the overlap after its rotation has.',
    remedy: 'Use the key that took its place, or make another.',
  },
  missing_token: {
    means: 'A robot’s connection carries no session token.',
    remedy: 'Send the token that `sessions.create` answered as bearer token.',
  },
  invalid_token: {
    means:
      'The session token is not one that this worker takes: signature, issuer, audience or type differ, or its session has ended.',
    remedy: 'Ask for another with `sessions.create` or `sessions.resume`.',
  },
  expired_token: {
    means:
      'The session token has run out; it lasts ten minutes and is renewed over the connection.',
    remedy: 'Ask for another with `sessions.resume`. The SDK does so by itself.',
  },
  not_signed_in: {
    means: 'Nobody is signed in: e-mail or password are wrong, or the sign-in has ended.',
    remedy: 'Sign in again, or ask for a new password.',
  },
  email_not_verified: {
    means: 'The person has not proved yet that the address is the person’s own.',
    remedy: 'Open the link that was sent to it, or have another one sent.',
  },
  forbidden: {
    means:
      'The key, or the person, is known and may not do this: the scope is too narrow, the tenant another, or the page one of elsewhere.',
    remedy: 'Use a key, or have a role, with the scope that `fix` names; `field` says what else.',
  },
  not_found: {
    means: 'There is no such thing, or it is another tenant’s, which is answered alike.',
    remedy: 'Check the id, and the tenant of the key.',
  },
  conflict: {
    means:
      'Something else stands in the way: the same name, or the same request that is under way.',
    remedy: 'Read what is there; where `retry_after_s` is given, send the same request again.',
  },
  payload_too_large: {
    means: 'The body, or a frame of a connection, is larger than what is taken.',
    remedy: 'Send less at once; pictures as JPEG rather than raw.',
  },
  embodiment_mismatch: {
    means: 'Two things are of different embodiments: a data set, a policy version, a session.',
    remedy: 'Use those of one embodiment.',
  },
  invalid_dataset: {
    means: 'The data set was refused, or a part of it cannot be used.',
    remedy:
      'Read its report: `armature datasets report`. Mend it, or accept it without the episodes named.',
  },
  empty_dataset: { means: 'No episode is left to use.', remedy: 'Record or name some.' },
  incomplete_upload: {
    means: 'Files of the set are not in the object store yet.',
    remedy: 'Send what is missing: `armature datasets push` goes on where it was cut off.',
  },
  checksum_mismatch: {
    means: 'A file’s bytes are not those that were announced.',
    remedy: 'Send the file again, or announce the set anew where it has changed.',
  },
  invalid_state: {
    means: 'The thing is in a state in which this cannot be done.',
    remedy: 'Look at its status; `fix` says what comes before.',
  },
  invalid_frame: {
    means: 'A frame of a robot’s connection is no message of its dialect.',
    remedy: 'Send binary msgpack as the contract has it; the connection stays open.',
  },
  missing_camera: {
    means: 'The observation lacks a picture of a camera that the embodiment has.',
    remedy: 'Send a picture of every camera with every observation.',
  },
  invalid_observation: {
    means:
      'A part of the observation is of another size or type than the embodiment says, or damaged.',
    remedy: 'Change the part that `field` names.',
  },
  invalid_action: {
    means:
      'An action is not finite, or passes a limit of the embodiment that it may not be clamped to.',
    remedy: 'Hold or stop. Where it happens again, look at the policy version and at the limits.',
  },
  incompatible_policy: {
    means:
      'The policy version cannot be served here: another base, another pre-processing, damaged files.',
    remedy: 'Deploy another version, or train again on the base that is served.',
  },
  rate_limited: {
    means: 'More requests than the tenant, or one key of it, may make; `limit` says which.',
    remedy: 'Wait `retry_after_s`. The SDK does so by itself.',
  },
  quota_exceeded: {
    means:
      'More than the tenant may use of what `limit` names: bytes, jobs, robots, seconds, cost.',
    remedy: 'Give back what is not needed, wait, or have the operator raise the quota.',
  },
  idempotency_mismatch: {
    means: 'The idempotency key was used for another request.',
    remedy: 'Use a key of its own for every request.',
  },
  cancelled: { means: 'It was cancelled.', remedy: 'Start it again if it is wanted.' },
  internal: {
    means: 'Something here is broken; it is logged under `request_id`.',
    remedy: 'Send the request again; if it stays, name the request id.',
  },
  unavailable: {
    means:
      'What is needed does not answer: the database, the object store, a worker that is ready.',
    remedy: 'Wait `retry_after_s` and send the same request again.',
  },
  timeout: {
    means: 'It took too long, or its deadline had passed before it was begun.',
    remedy: 'Send it again, with an idempotency key where it changes something.',
  },
};

/** Pages of documentation for people who met an error: one a code, and one of all of them. */
export function mountErrorPages(app: Hono<HttpEnv>): void {
  const all = errorCodeSchema.options;
  app.get('/errors', (c) => c.html(page('Errors', all)));
  app.get('/errors/:code', (c) => {
    const code = errorCodeSchema.safeParse(c.req.param('code'));
    return code.success ? c.html(page(code.data, [code.data])) : c.notFound();
  });
}

function page(title: string, codes: readonly ErrorCode[]) {
  const entries = codes.map((code) => {
    const { means, remedy } = pages[code];
    const { status, retryable } = errorCodes[code];
    const again = retryable ? 'The same call may succeed later.' : 'The same call fails again.';
    return html`<h2 id="${code}"><code>${code}</code> (HTTP ${status})</h2>
      <p>${means}</p>
      <p>${remedy} ${again}</p>`;
  });
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <title>${title} - Armature</title>
      </head>
      <body>
        ${entries}
        <p><a href="/errors">All errors</a></p>
      </body>
    </html>`;
}
