/** What is used here of the package's decoder, which comes without types. */
declare module '@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasmjs' {
  export interface FrameInfo {
    readonly width: number;
    readonly height: number;
    readonly componentCount: number;
  }

  /** Throws a number, an address of no use here, where the file is damaged. */
  export interface JpegDecoder {
    /** Room for a file of this many bytes, valid until memory grows. */
    getEncodedBuffer(length: number): Uint8Array;
    readHeader(): void;
    getFrameInfo(): FrameInfo;
    decode(): void;
    /** The picture in memory of its own: u8 [height, width, componentCount]. */
    getDecodedBuffer(): Uint8ClampedArray<ArrayBuffer>;
  }

  export interface LibjpegTurbo {
    readonly JPEGDecoder: new () => JpegDecoder;
  }

  export default function load(options: { readonly wasmBinary: Uint8Array }): Promise<LibjpegTurbo>;
}
