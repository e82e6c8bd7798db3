import type {
  Dataset,
  DatasetReport,
  Embodiment,
  EmbodimentSpec,
  Finetune,
  JobEvent,
  PolicyVersion,
} from '../../contract/index.ts';
import { arm } from './two-joint-arm.ts';

const at = '2026-01-02T03:04:05.000Z';

/** The arm's spec as the wire has it. */
export const armSpec = structuredClone(arm) as unknown as EmbodimentSpec;

export const embodiment: Embodiment = {
  id: 'emb_1',
  spec: armSpec,
  active_policy_version_id: null,
  canary: null,
  created_at: at,
};

export function dataset(change: Partial<Dataset> = {}): Dataset {
  return {
    id: 'ds_1',
    name: 'cups',
    embodiment_id: 'emb_1',
    status: 'ready',
    files: 2,
    bytes: 10,
    progress: 1,
    report: null,
    quarantined_until: null,
    deleted_at: null,
    created_at: at,
    ...change,
  };
}

export function report(change: Partial<DatasetReport> = {}): DatasetReport {
  return {
    format: 'lerobot-v2.1',
    robot_type: 'arm',
    fps: 50,
    episodes: 2,
    frames: 100,
    tasks: ['lift the cup'],
    cameras: [{ name: 'top', width: 16, height: 12 }],
    findings: [],
    stats: null,
    ingest: { seconds: 1, frames_per_s: 100, peak_rss_mb: 90 },
    ...change,
  };
}

export function finetune(change: Partial<Finetune> = {}): Finetune {
  return {
    id: 'ft_1',
    name: 'cups',
    embodiment_id: 'emb_1',
    dataset_id: 'ds_1',
    added_dataset_ids: [],
    heldout_dataset_id: null,
    options: { mode: 'head', seed: 0, images: 'use', labels: 'joints' },
    status: 'succeeded',
    attempt: 1,
    progress: 1,
    error: null,
    estimate: null,
    checkpoint: null,
    eta_at: null,
    train: null,
    evaluation: null,
    policy_version_id: 'pv_1',
    created_at: at,
    finished_at: at,
    ...change,
  };
}

export function event(seq: number, change: Partial<JobEvent> = {}): JobEvent {
  return { seq, at, kind: 'message', message: `event ${seq}`, data: {}, ...change };
}

export const policyVersion: PolicyVersion = {
  id: 'pv_1',
  name: 'cups',
  embodiment_id: 'emb_1',
  finetune_id: 'ft_1',
  digest: 'a'.repeat(64),
  stats_hash: 's',
  preprocess_hash: 'p',
  mode: 'head',
  data: null,
  code: null,
  scores: {
    heldout: { score: null, reason: 'made before scores were recorded' },
    simulated: { score: null, reason: 'no score of a simulator was recorded' },
  },
  sampler: { steps: 5, noise_scale: 0 },
  prefix_delay_max: 4,
  bytes: 1000,
  active: true,
  retired_at: null,
  created_at: at,
};
