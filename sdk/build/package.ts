import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import manifest from '../package.json' with { type: 'json' };
import { writeDeclarations } from './declarations.ts';
import { writeJavaScript } from './javascript.ts';
import { publishedManifest } from './manifest.ts';
import { notices } from './notices.ts';

const SDK = fileURLToPath(new URL('..', import.meta.url));
const TEXTS = ['README.md', 'WEBHOOKS.md'] as const;

/**
 * Makes the folder that is published: JavaScript, declarations, texts, manifest. The folder is emptied
 * first; the manifest comes last, so that half a build cannot be packed.
 * @throws Error where a source does not compile, or something would be left to install.
 */
export async function buildPackage(out: string): Promise<void> {
  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  const inJavaScript = await writeJavaScript(SDK, join(out, 'lib'));
  const inDeclarations = await writeDeclarations(SDK, join(out, 'types'));
  await Promise.all(TEXTS.map((name) => copyFile(join(SDK, name), join(out, name))));
  await copyFile(join(SDK, '..', 'LICENSE'), join(out, 'LICENSE'));
  const included = [...inJavaScript, ...inDeclarations];
  await writeFile(join(out, 'THIRD-PARTY-NOTICES.md'), await notices(included));
  const published = publishedManifest(manifest);
  await writeFile(join(out, 'package.json'), `${JSON.stringify(published, null, 2)}\n`);
}
