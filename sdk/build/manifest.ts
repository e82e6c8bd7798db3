/** What the workspace's manifest says of the package itself. */
export interface WorkspaceManifest {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly license: string;
  readonly engines: { readonly node: string };
}

/**
 * The manifest that is published: its doors lead to the build. It has no dependency, since the build
 * holds what is used of each.
 */
export function publishedManifest(workspace: WorkspaceManifest) {
  const { name, version, description, license, engines } = workspace;
  return {
    name,
    version,
    description,
    license,
    engines,
    type: 'module',
    bin: { armature: './lib/cli.js' },
    exports: {
      '.': {
        browser: { types: './types/browser.d.ts', default: './lib/browser.js' },
        types: './types/index.d.ts',
        default: './lib/index.js',
      },
      './contract': { types: './types/contract.d.ts', default: './lib/contract.js' },
      './package.json': './package.json',
    },
    // What `javascript.ts` leaves to be resolved where the package runs.
    imports: { '#ws': { browser: './lib/no-ws.js', default: './lib/ws.js' } },
  };
}
