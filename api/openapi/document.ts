import {
  errorCodes,
  IDEMPOTENCY_KEY,
  problemSchema,
  routes,
  schemaNames,
  TENANT_HEADER,
  type Need,
  type RouteName,
} from '@armature/sdk/contract';
import { z } from 'zod';
import { EVENT_STREAM_PATH } from '../http/event-stream.ts';

type Json = Record<string, unknown>;

const registry = z.registry<{ id: string }>();
for (const [id, schema] of Object.entries(schemaNames)) registry.add(schema, { id });

/**
 * The REST interface as an OpenAPI 3.1 document, made from the contract's table of routes, with the stream
 * of a fine-tune's progress. It lies beside this file as `openapi.json`; a test fails when the two differ.
 */
export function openApiDocument(): Json {
  const components = new Map<string, unknown>();
  const paths: Record<string, Json> = {};
  for (const name of Object.keys(routes) as RouteName[]) {
    const path = templateOf(routes[name].path);
    paths[path] = {
      ...paths[path],
      [routes[name].method.toLowerCase()]: operation(name, components),
    };
  }
  paths[templateOf(EVENT_STREAM_PATH)] = { get: eventStream() };
  const problem = schemaOf(problemSchema, 'output', components);
  return {
    openapi: '3.1.0',
    info: {
      title: 'Armature',
      version: '1',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    security: [{ key: [] }, { person: [] }],
    paths,
    components: {
      securitySchemes: {
        key: { type: 'http', scheme: 'bearer' },
        person: {
          type: 'apiKey',
          in: 'cookie',
          name: 'armature.session_token',
          description: `Set by signing in, with the prefix __Secure- where the address is https. Goes with ${TENANT_HEADER}; changes must come from a page of the platform.`,
        },
      },
      responses: {
        Problem: {
          description: `What went wrong (RFC 9457). \`code\` is one of ${Object.keys(errorCodes).join(', ')}.`,
          content: { 'application/problem+json': { schema: problem } },
        },
      },
      schemas: Object.fromEntries([...components].sort(([a], [b]) => (a < b ? -1 : 1))),
    },
  };
}

const templateOf = (path: string): string => path.replaceAll(/:(\w+)/g, '{$1}');

const PROBLEM = { $ref: '#/components/responses/Problem' } as const;
const CHOSEN_TENANT = {
  name: TENANT_HEADER,
  in: 'header',
  required: false,
  description: 'The tenant that a person who is signed in has chosen; a key has its own.',
  schema: { type: 'string' },
} as const;

/** What `finetunes.events` tells, as it happens: in no table, since a client reads it in another way. */
function eventStream(): Json {
  return {
    operationId: 'finetunes.stream',
    tags: ['finetunes'],
    description:
      `Needs ${needOf('read')}. Each event of the history has its \`seq\` as \`id\` and its \`kind\` as \`event\`; ` +
      '`end` with the fine-tune closes the stream, `problem` says why it broke off. A function does not serve it.',
    parameters: [
      { name: 'id', in: 'path', required: true, schema: { type: 'string' } },
      {
        name: 'Last-Event-ID',
        in: 'header',
        required: false,
        description: 'Goes on behind this event.',
        schema: { type: 'string' },
      },
      CHOSEN_TENANT,
    ],
    responses: {
      200: {
        description: 'Server-sent events; `data` is a JobEvent as JSON.',
        content: { 'text/event-stream': { schema: { type: 'string' } } },
      },
      default: PROBLEM,
    },
  };
}

function operation(name: RouteName, components: Map<string, unknown>): Json {
  const { method, path, scope, input, output } = routes[name];
  const parsed = schemaOf(input, 'input', components) as {
    properties?: Record<string, unknown>;
    required?: string[];
  };
  const fields = parsed.properties ?? {};
  const required = new Set(parsed.required ?? []);
  const inPath = new Set(Array.from(path.matchAll(/:(\w+)/g), ([, field]) => field));
  const rest = Object.entries(fields).filter(([field]) => !inPath.has(field));
  const parameters: Json[] = [...inPath].map((field) => ({
    name: field,
    in: 'path',
    required: true,
    schema: fields[field ?? ''],
  }));
  if (method !== 'POST') {
    for (const [field, schema] of rest) {
      parameters.push({ name: field, in: 'query', required: required.has(field), schema });
    }
  }
  if (method !== 'GET') {
    parameters.push({
      name: 'Idempotency-Key',
      in: 'header',
      required: false,
      description: 'A random id of the request: sent again within a day it gets the first answer.',
      schema: { type: 'string', pattern: IDEMPOTENCY_KEY.source },
    });
  }
  if (!APART.has(scope)) {
    parameters.push(CHOSEN_TENANT);
  }
  return {
    operationId: name,
    tags: [name.split('.')[0]],
    description: `Needs ${needOf(scope)}.`,
    ...(APART.has(scope) ? { security: [{ [scope === 'person' ? 'person' : 'key']: [] }] } : {}),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(method === 'POST' ? { requestBody: bodyOf(rest, required) } : {}),
    responses: {
      200: {
        description: 'Done.',
        content: { 'application/json': { schema: schemaOf(output, 'output', components) } },
      },
      default: PROBLEM,
    },
  };
}

/** What no member of a tenant does as such. */
const APART: ReadonlySet<Need> = new Set(['platform', 'invitation', 'person']);

function needOf(scope: Need): string {
  switch (scope) {
    case 'platform':
      return 'the operator’s key';
    case 'invitation':
      return 'an invitation as the key';
    case 'person':
      return 'somebody who is signed in';
    default:
      return `a key, or a member’s role, with the scope ${scope}`;
  }
}

function bodyOf(fields: readonly [string, unknown][], required: ReadonlySet<string>): Json {
  const needed = fields.map(([field]) => field).filter((field) => required.has(field));
  const schema = {
    type: 'object',
    properties: Object.fromEntries(fields),
    ...(needed.length === 0 ? {} : { required: needed }),
    additionalProperties: false,
  };
  return { required: needed.length > 0, content: { 'application/json': { schema } } };
}

/** The JSON schema, with named parts moved to the components; inputs have names of their own. */
function schemaOf(
  schema: z.ZodType,
  io: 'input' | 'output',
  components: Map<string, unknown>,
): Json {
  const suffix = io === 'input' ? 'Input' : '';
  const made = z.toJSONSchema(schema, {
    io,
    metadata: registry,
    target: 'draft-2020-12',
    override: ({ jsonSchema }) => {
      saySimply(jsonSchema);
    },
  });
  const renamed = JSON.parse(
    JSON.stringify(made).replaceAll(/"#\/\$defs\/(\w+)"/g, `"#/components/schemas/$1${suffix}"`),
  ) as Json & { $defs?: Record<string, Json> };
  const { $schema: _, $defs: parts = {}, id: name, ...plain } = renamed;
  for (const [id, part] of Object.entries(parts)) {
    const { id: _id, ...rest } = part;
    components.set(id + suffix, rest);
  }
  if (typeof name !== 'string') return plain;
  components.set(name + suffix, plain);
  return { $ref: `#/components/schemas/${name}${suffix}` };
}

/**
 * Says the same in words that generators of clients know: a tuple of like items as an array of so many
 * (many refuse `items: false`), and a default that is an object in the description (of a model many
 * take none).
 */
function saySimply(part: z.core.JSONSchema.BaseSchema): void {
  const { prefixItems: [first, ...others] = [], items, default: otherwise } = part;
  const alike = others.every((item) => JSON.stringify(item) === JSON.stringify(first));
  if (first !== undefined && items === false && alike) {
    const count = others.length + 1;
    delete part.prefixItems;
    Object.assign(part, { items: first, minItems: count, maxItems: count });
  }
  if (typeof otherwise === 'object' && otherwise !== null) {
    delete part.default;
    const said = `${JSON.stringify(otherwise)} unless given.`;
    part.description = part.description === undefined ? said : `${part.description} ${said}`;
  }
}
