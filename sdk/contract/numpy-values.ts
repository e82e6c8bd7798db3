/** A number that travels as float64 even where it is whole, as Python writes its floats. */
export class Float64 {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

/** A numpy scalar with its dtype; `value` is what Python's `item()` gives. */
export class NumpyScalar {
  readonly dtype: string;
  readonly value: unknown;

  constructor(dtype: string, value: unknown) {
    this.dtype = dtype;
    this.value = value;
  }
}

/** numpy `dtype.str` of fixed-width text (`<U5`, `>U5`: UTF-32) and byte strings (`|S5`). */
export type TextDtype = `<U${number}` | `>U${number}` | `|S${number}`;

/** Whether `dtype` is one of fixed-width text. */
export function isTextDtype(dtype: string): dtype is TextDtype {
  return /^(?:[<>]U|\|S)\d{1,7}$/.test(dtype);
}

/** An array of fixed-width text, as numpy writes prompts: zero-padded, C order. */
export class TextArray {
  readonly dtype: TextDtype;
  readonly shape: readonly number[];
  readonly data: Uint8Array;

  /** @throws RangeError when the bytes do not fit shape and dtype. */
  constructor(dtype: TextDtype, shape: readonly number[], data: Uint8Array) {
    const bytes = shape.reduce((product, size) => product * size, widthOf(dtype));
    if (data.byteLength !== bytes) {
      throw new RangeError(
        `array of ${dtype} [${shape.join(', ')}] needs ${bytes} bytes, got ${data.byteLength}`,
      );
    }
    this.dtype = dtype;
    this.shape = shape;
    this.data = data;
  }

  /**
   * The elements as text, in C order, without their padding; byte strings as Latin-1.
   * @throws RangeError for a code point outside Unicode.
   */
  strings(): string[] {
    const width = widthOf(this.dtype);
    const count = this.shape.reduce((product, size) => product * size, 1);
    return Array.from({ length: count }, (_, i) =>
      readText(this.dtype, this.data.subarray(i * width, (i + 1) * width)),
    );
  }
}

function widthOf(dtype: TextDtype): number {
  return Number(dtype.slice(2)) * (dtype[1] === 'U' ? 4 : 1);
}

function readText(dtype: TextDtype, bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const points =
    dtype[1] === 'S'
      ? Array.from(bytes)
      : Array.from({ length: bytes.byteLength / 4 }, (_, i) =>
          view.getUint32(i * 4, dtype[0] === '<'),
        );
  const end = points.findLastIndex((point) => point !== 0) + 1;
  return points
    .slice(0, end)
    .map((point) => String.fromCodePoint(point))
    .join('');
}
