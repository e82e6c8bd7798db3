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
  /** Which picture of those that other threads may have been given too; absent: it is this thread's alone. */
  readonly claim?: Claim;
}

/** The thread that first finds the ticket in its place and takes it out does the picture. */
export interface Claim {
  readonly place: number;
  readonly ticket: number;
}

/** What an image thread is started with: places of tickets, int32. */
export interface ImageThreadData {
  readonly places: SharedArrayBuffer;
}

/** Image thread → main thread; `passed`: another thread has the picture. */
export type ImageReply = ImageAnswer | { readonly passed: true };

export type ImageAnswer =
  | { readonly pixels: Uint8Array }
  /** The picture cannot be used; the message completes "images.front …". */
  | { readonly refused: string; readonly fix: string }
  | { readonly crashed: string };
