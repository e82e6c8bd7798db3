import { describe, expect, it } from 'vitest';
import { ImageError, fitInside, preprocessImage } from './preprocess.ts';

describe('pre-processing', () => {
  it('names the bytes that a picture lacks', () => {
    expect(() => preprocessImage(new Uint8Array(10), 2, 2, { width: 4, height: 4 })).toThrow(
      ImageError,
    );
  });

  it('keeps the aspect and centres', () => {
    expect(fitInside(640, 480, { width: 96, height: 96 })).toEqual({
      width: 96,
      height: 72,
      left: 0,
      top: 12,
    });
  });
});
