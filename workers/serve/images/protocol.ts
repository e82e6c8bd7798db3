export interface Size {
  readonly width: number;
  readonly height: number;
}

/** Main thread → image thread: one picture as it came, and the size that the policy sees. */
export interface ImageRequest {
  readonly kind: 'jpeg' | 'pixels';
  /** A JPEG file of `size`, or u8 [size.height, size.width, 3]. */
  readonly bytes: Uint8Array;
  readonly size: Size;
  readonly target: Size;
}

/** Image thread → main thread. */
export type ImageReply =
  | { readonly pixels: Uint8Array }
  /** The picture cannot be used; the message completes "images.front …". */
  | { readonly refused: string; readonly fix: string }
  | { readonly crashed: string };
