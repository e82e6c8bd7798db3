import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import wabt from 'wabt';

/**
 * The TypeScript file that holds a WebAssembly text assembled.
 * @param constant its only export, the module in base64
 * @throws Error where the text is no valid module.
 */
export async function assembledWat(url: URL, constant: string): Promise<string> {
  const name = basename(fileURLToPath(url));
  const tools = await wabt();
  const parsed = tools.parseWat(name, await readFile(url, 'utf8'), { simd: true });
  parsed.validate();
  const lines = Buffer.from(parsed.toBinary({}).buffer)
    .toString('base64')
    .match(/.{1,90}/g);
  parsed.destroy();
  const text = lines?.map((line) => `  '${line}'`).join(' +\n');
  return `/** \`${name}\` assembled, in base64; the test beside it writes this. */\nexport const ${constant} =\n${text ?? ''};\n`;
}
