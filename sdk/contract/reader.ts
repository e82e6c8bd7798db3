import * as z from 'zod';
import { errorCodeSchema } from './errors.ts';

/** A code of a later version is an error all the same. */
const anyErrorCode = z.union([errorCodeSchema, z.string().transform(() => 'internal' as const)]);

const readers = new WeakMap<z.core.$ZodType, z.core.$ZodType>();

/**
 * The schema as a reader takes it, who may be older than the writer: fields that it does not know are
 * left out at every depth, also where the writer may not invent any, and an error code that it does not
 * know is `internal`.
 */
export function readerOf<S extends z.core.$ZodType>(schema: S): S {
  let reader = readers.get(schema);
  if (reader === undefined) {
    reader = loosened(schema);
    readers.set(schema, reader);
  }
  // It gives out what has the writer's type: it refuses less, and leaves out what it does not know.
  return reader as S;
}

function loosened(schema: z.core.$ZodType): z.core.$ZodType {
  if (schema === errorCodeSchema) return anyErrorCode;
  const { def } = (schema as z.core.$ZodTypes)._zod;
  const parts = loosenedParts(def);
  return parts === undefined ? schema : z.clone(schema, { ...def, ...parts });
}

/** What of a schema's definition a reader has in its place; undefined where it has no parts. */
function loosenedParts(def: z.core.$ZodTypes['_zod']['def']): object | undefined {
  switch (def.type) {
    case 'object': {
      const fields = Object.entries(def.shape).map(([key, field]) => [key, readerOf(field)]);
      return { shape: Object.fromEntries(fields) as z.core.$ZodShape, catchall: undefined };
    }
    case 'array':
      return { element: readerOf(def.element) };
    case 'record':
      return { valueType: readerOf(def.valueType) };
    case 'union':
      return { options: def.options.map((option) => readerOf(option)) };
    case 'optional':
    case 'nullable':
    case 'default':
      return { innerType: readerOf(def.innerType) };
    default:
      return undefined;
  }
}
