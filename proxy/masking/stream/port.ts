import type { MaskError } from '../errors.ts';

/** A stream of text that is masked while it passes: output of commands, files that are read, and later bodies that other lanes stream. */
export interface TextMasker {
  /**
   * Takes the next bytes of the stream; what may be shown now comes back, in order. How the stream is cut into chunks changes nothing: all
   * that comes back, joined, is the same for every way of cutting it. The chunk is not kept and may be used again.
   */
  push(chunk: Buffer): Buffer[];
  /** The stream is over: what was kept comes back. */
  end(): Buffer[];
  /** Set once the rest of the stream cannot be shown, after what came back: whoever runs the command ends it and says so. */
  readonly failure?: MaskError | undefined;
}
