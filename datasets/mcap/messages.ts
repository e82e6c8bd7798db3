import { parse } from '@foxglove/rosmsg';
import { MessageReader } from '@foxglove/rosmsg2-serialization';
import type { McapTypes } from '@mcap/core';

/** One message's bytes as a value: an object of its fields. */
export type ReadMessage = (bytes: Uint8Array) => unknown;

/**
 * How the messages of a channel are read: ROS 2 (`cdr` with a `ros2msg` schema) and JSON.
 * @throws Error for an encoding that is none of these.
 */
export function messageReader(
  channel: McapTypes.TypedMcapRecords['Channel'],
  schema: McapTypes.TypedMcapRecords['Schema'] | undefined,
): ReadMessage {
  if (channel.messageEncoding === 'json') {
    const decoder = new TextDecoder('utf-8', { fatal: true });
    return (bytes): unknown => JSON.parse(decoder.decode(bytes));
  }
  if (channel.messageEncoding === 'cdr' && schema?.encoding === 'ros2msg') {
    const reader = new MessageReader(parse(new TextDecoder().decode(schema.data), { ros2: true }));
    return (bytes) => reader.readMessage(bytes);
  }
  throw new Error(
    `topic ${channel.topic} has messages in ${channel.messageEncoding} with schemas in ${schema?.encoding ?? 'none'}; cdr with ros2msg and json are read`,
  );
}

/**
 * The numbers at a path of fields, e.g. `position` or `data.joints`.
 * @returns `null` where there are none
 */
export function numbersAt(value: unknown, path: string): number[] | null {
  let at = value;
  for (const field of path.split('.')) {
    if (typeof at !== 'object' || at === null) return null;
    at = (at as Record<string, unknown>)[field];
  }
  if (typeof at === 'number') return [at];
  if (!Array.isArray(at) && !ArrayBuffer.isView(at)) return null;
  const numbers = Array.from(at as Iterable<unknown>);
  return numbers.every((number) => typeof number === 'number') ? numbers : null;
}
