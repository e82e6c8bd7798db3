/** An operation was asked for shapes, types or attributes it cannot take. Names the operation and what it got. */
export class ShapeError extends Error {
  readonly op: string;
  readonly shapes: readonly (readonly number[])[];
  constructor(op: string, problem: string, shapes: readonly (readonly number[])[] = []) {
    const given = shapes.map((s) => `[${s.join(', ')}]`).join(', ');
    super(`${op}: ${problem}${given === '' ? '' : ` (shapes ${given})`}`);
    this.name = 'ShapeError';
    this.op = op;
    this.shapes = shapes;
  }
}

/** A gradient was asked through something that has none. */
export class GradientError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'GradientError';
  }
}
