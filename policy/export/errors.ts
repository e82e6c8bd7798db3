/** A model that cannot be exported as asked; names the option or the weight. */
export class ExportError extends Error {
  override readonly name = 'ExportError';
  /** The option or the tensor at fault. */
  readonly field: string;
  constructor(field: string, message: string) {
    super(`${field}: ${message}`);
    this.field = field;
  }
}
