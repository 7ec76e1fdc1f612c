/** A stream of text that is masked while it passes: output of commands, and later bodies that other lanes stream. */
export interface TextMasker {
  /**
   * Takes the next bytes of the stream; what may be shown now comes back, in order. How the stream is cut into chunks changes nothing: all
   * that comes back, joined, is the same for every way of cutting it. The chunk is not kept and may be used again.
   * @throws MaskError SPM008 binary output where a rule denies it: nothing more may be passed on
   */
  push(chunk: Buffer): Buffer[];
  /** The stream is over: what was kept comes back. @throws as `push` */
  end(): Buffer[];
}
