import { deflateRawSync } from 'node:zlib';

interface Entry {
  readonly name: string;
  /** Where its local header lies. */
  readonly at: number;
  readonly packed: number;
  readonly size: number;
  readonly sum: number;
}

/** A local file header (APPNOTE.TXT, 4.3.7) and the deflated bytes behind it. */
function local(name: string, content: Buffer): { bytes: Buffer; entry: Omit<Entry, 'at'> } {
  const packed = deflateRawSync(content);
  const header = Buffer.alloc(30);
  header.writeUInt32LE(0x04034b50, 0);
  header.writeUInt16LE(20, 4);
  header.writeUInt16LE(8, 8);
  const sum = checksum(content);
  header.writeUInt32LE(sum, 14);
  header.writeUInt32LE(packed.length, 18);
  header.writeUInt32LE(content.length, 22);
  header.writeUInt16LE(name.length, 26);
  return {
    bytes: Buffer.concat([header, Buffer.from(name), packed]),
    entry: { name, packed: packed.length, size: content.length, sum },
  };
}

/** Central directory and its end (4.3.12, 4.3.16). */
function directory(entries: readonly Entry[], at: number): Buffer {
  const headers = entries.map(({ name, packed, size, sum, at: offset }) => {
    const header = Buffer.alloc(46);
    header.writeUInt32LE(0x02014b50, 0);
    header.writeUInt16LE(20, 4);
    header.writeUInt16LE(20, 6);
    header.writeUInt16LE(8, 10);
    header.writeUInt32LE(sum, 16);
    header.writeUInt32LE(packed, 20);
    header.writeUInt32LE(size, 24);
    header.writeUInt16LE(name.length, 28);
    header.writeUInt32LE(offset, 42);
    return Buffer.concat([header, Buffer.from(name)]);
  });
  const body = Buffer.concat(headers);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(body.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([body, end]);
}

/** CRC-32 (ISO 3309), bit by bit. */
function checksum(bytes: Buffer): number {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return (sum ^ 0xffffffff) >>> 0;
}

/** Archives in archives, each of ten names that are one and the same file: 10^depth MiB of zeros. */
export function nestedZip(depth: number): Buffer {
  let content: Buffer = Buffer.alloc(1 << 20);
  for (let level = 0; level < depth; level += 1) content = repeated('inner.zip', content, 10);
  return content;
}

/** One file of a MiB of zeros that the directory lists `count` times, always the same bytes. */
export function overlappingZip(count: number): Buffer {
  return repeated('zeros.bin', Buffer.alloc(1 << 20), count);
}

function repeated(name: string, content: Buffer, count: number): Buffer {
  const { bytes, entry } = local(name, content);
  const entries = Array.from({ length: count }, () => ({ ...entry, at: 0 }));
  return Buffer.concat([bytes, directory(entries, bytes.length)]);
}
