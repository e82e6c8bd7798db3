import { access, constants } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { PytorchPeer } from './pytorch-peer.ts';

it('says which script to run where PyTorch is absent, and nothing where it is there', async () => {
  const said = PytorchPeer.lack('/nowhere/python');
  const script = /run (\S+) first$/.exec(said ?? '')?.[1] ?? '';
  const file = new URL(`../../../${script}`, import.meta.url);
  await expect(access(file, constants.X_OK)).resolves.toBeUndefined();
  expect(PytorchPeer.lack(process.execPath)).toBeUndefined();
});
