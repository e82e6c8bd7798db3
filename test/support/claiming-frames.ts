/** An mp4 whose tables say that it has `samples` pictures of a byte each. */
export function claimingFrames(video: Buffer, samples: number): Buffer {
  const patched = Buffer.from(video);
  const box = (name: string): number => {
    const at = patched.indexOf(name);
    if (at < 0) throw new Error(`the video has no ${name}`);
    return at + 8;
  };
  // ISO/IEC 14496-12: time to sample, sample to chunk, sample sizes; each after version and flags.
  patched.writeUInt32BE(samples, box('stts') + 4);
  patched.writeUInt32BE(samples, box('stsc') + 8);
  patched.writeUInt32BE(1, box('stsz'));
  patched.writeUInt32BE(samples, box('stsz') + 4);
  return patched;
}
