/** A model folder's config.json that does not describe a model which is known; names the field. */
export class ModelConfigError extends Error {
  override readonly name = 'ModelConfigError';
}

/** A model folder whose files do not hold what its config or its index promises; names file or tensor. */
export class ModelFolderError extends Error {
  override readonly name = 'ModelFolderError';
}
