import { readFile } from 'node:fs/promises';
import { routes, type RouteName } from '@armature/sdk/contract';
import { describe, expect, it } from 'vitest';
import { openApiDocument } from './document.ts';

interface Operation {
  operationId: string;
  parameters?: { name: string; in: string }[];
}

describe('the OpenAPI document', () => {
  const document = openApiDocument() as {
    paths: Record<string, Record<string, Operation>>;
    components: { schemas: Record<string, unknown> };
  };
  const operations = Object.entries(document.paths)
    .flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
    )
    .filter(({ operation }) => operation.operationId !== 'finetunes.stream');

  it('is the file beside it; `npm run openapi` writes it anew', async () => {
    const file = await readFile(new URL('./openapi.json', import.meta.url), 'utf8');
    expect(JSON.parse(file)).toEqual(JSON.parse(JSON.stringify(document)));
  });

  it('has every verb with its method, path and path fields', () => {
    const names = Object.keys(routes) as RouteName[];
    expect(operations.map(({ operation }) => operation.operationId).sort()).toEqual(
      [...names].sort(),
    );
    for (const { path, method, operation } of operations) {
      const route = routes[operation.operationId as RouteName];
      expect(method).toBe(route.method.toLowerCase());
      const fields = Array.from(path.matchAll(/\{(\w+)\}/g), ([, field]) => field);
      expect(path.replaceAll(/\{(\w+)\}/g, ':$1')).toBe(route.path);
      const inPath = (operation.parameters ?? []).filter((parameter) => parameter.in === 'path');
      expect(inPath.map(({ name }) => name)).toEqual(fields);
      const takesKey = (operation.parameters ?? []).some(({ name }) => name === 'Idempotency-Key');
      expect(takesKey).toBe(route.method !== 'GET');
    }
  });

  it('has every part that it refers to, and no part that nothing refers to', () => {
    const text = JSON.stringify(document);
    const wanted = new Set(
      Array.from(text.matchAll(/"#\/components\/schemas\/(\w+)"/g), ([, name]) => name),
    );
    expect([...wanted].sort()).toEqual(Object.keys(document.components.schemas).sort());
    expect(text).not.toContain('$defs');
  });
});
