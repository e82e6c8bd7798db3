/** Where a fine-tune keeps what it needs until it ends. */
export function finetunePrefix(tenantId: string, finetuneId: string): string {
  return `tenants/${tenantId}/finetunes/${finetuneId}/`;
}

/** A key of its own for every attempt, so that two of them never write the same object. */
export function checkpointKey(
  tenantId: string,
  finetuneId: string,
  attempt: number,
  step: number,
): string {
  return `${finetunePrefix(tenantId, finetuneId)}attempt-${attempt}/checkpoint-${step}.safetensors`;
}

/** Where the objects of a policy version lie, by the sha256 of its manifest. */
export function policyPrefix(tenantId: string, digest: string): string {
  return `tenants/${tenantId}/policies/${digest}/`;
}

/** Where what is derived from a data set lies, beside its files. */
export function derivedPrefix(tenantId: string, datasetId: string): string {
  return `tenants/${tenantId}/datasets/${datasetId}/derived/`;
}
