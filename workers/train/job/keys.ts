import type { ClaimedJob } from '@armature/db';

/** Where a fine-tune keeps what it needs until it ends. */
export function finetunePrefix(tenantId: string, finetuneId: string): string {
  return `tenants/${tenantId}/finetunes/${finetuneId}/`;
}

/** A key of its own for every attempt of every job, so that two never write the same object. */
export function checkpointKey(job: ClaimedJob, step: number): string {
  const { tenantId, subjectId, id, attempt } = job;
  return `${finetunePrefix(tenantId, subjectId)}${id}/attempt-${attempt}/checkpoint-${step}.safetensors`;
}

/**
 * Where the objects of a policy version lie, by the sha256 of its manifest and the fine-tune that makes it: another
 * that makes the same version has objects of its own, so that whoever takes its own away takes nobody else's.
 */
export function policyPrefix(tenantId: string, finetuneId: string, digest: string): string {
  return `tenants/${tenantId}/policies/${digest}-${finetuneId}/`;
}

/** Where what is derived from a data set lies, beside its files. */
export function derivedPrefix(tenantId: string, datasetId: string): string {
  return `tenants/${tenantId}/datasets/${datasetId}/derived/`;
}
