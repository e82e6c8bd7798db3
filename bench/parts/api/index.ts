import path from 'node:path';
import { startPlatform } from '@armature/infra/platform';
import { Armature } from '@armature/sdk';
import type { PartMeasurement, PartOptions } from '../../result.ts';
import { prepare } from '../serve/fleet.ts';
import { claimRate } from './claims.ts';
import { coldStarts } from './cold-start.ts';
import { isolationSize } from './isolation.ts';
import { measureRequests } from './requests.ts';
import { uploadRate } from './upload.ts';

/** How much is measured: all of it, or just enough to see that it works. */
const SIZES = {
  full: { alone: 400, together: 2_000, uploadMb: 256, jobs: 4_000, coldStarts: 10 },
  quick: { alone: 20, together: 64, uploadMb: 8, jobs: 100, coldStarts: 2 },
} as const;

/** What no request of a bench may run into. */
const LIMITS = { requests_per_s: 1e6, requests_burst: 1e6, concurrent_robots: 1e6 } as const;

/** The control plane over loopback, with an empty database of its own. */
export async function measureApi({ scratch, quick }: PartOptions): Promise<PartMeasurement> {
  const size = quick ? SIZES.quick : SIZES.full;
  const platform = await startPlatform({
    dir: path.join(scratch, 'platform'),
    environment: { PATH: process.env['PATH'] ?? '', LOG_LEVEL: 'warn' },
    durable: false,
  });
  try {
    const { apiUrl, platformKey, databaseUrls } = platform;
    const operator = new Armature({ apiUrl, apiKey: platformKey });
    const { tenant, secret } = await operator.tenants.create({ name: 'bench' });
    for (const name of Object.keys(LIMITS) as (keyof typeof LIMITS)[]) {
      await operator.tenants.limit({ id: tenant.id, name, value: LIMITS[name] });
    }
    const client = new Armature({ apiUrl, apiKey: secret });
    const served = await prepare(client, scratch);
    const requests = await measureRequests({
      embodiment: served.embodimentId,
      apiUrl,
      apiKey: secret,
      client,
      tenant: tenant.id,
      databaseUrl: databaseUrls.app,
      size,
    });
    const upload = await uploadRate(client, path.join(scratch, 'upload'), size.uploadMb);
    return {
      figures: [
        ...requests.figures,
        ...upload.figures,
        ...(await claimRate(databaseUrls, size.jobs)),
        ...(await coldStarts({ databaseUrl: databaseUrls.app, scratch, count: size.coldStarts })),
        ...(await isolationSize()),
      ],
      summary: { api_ratios: { ...requests.ratios, upload: upload.ratio } },
    };
  } finally {
    await platform.stop();
  }
}
