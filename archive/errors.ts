/** Errors of the archive and the sinks: one table. None carries a line of the record. */
export const ARCHIVE_ERRORS = {
  SPH001: {
    message: 'bytes {} of {} differ from those that the archive has',
    hint: 'Somebody changed the record at its source, or in the archive: compare the two with sallyport verify. Nothing was overwritten.',
  },
  SPH002: { message: '{} was sent from byte {}, and the archive has {} bytes', hint: 'Go on from there.' },
  SPH003: {
    message: '{} belongs to {}, and {} may not write it',
    hint: 'Each proxy writes its own streams: see that no two share a certificate, and where this one got the name from.',
  },
  SPH004: { message: '{} may not write to the namespace {}', hint: 'Add the namespace to archiveServer.proxies.' },
  SPH005: { message: '{} is not the name of a segment', hint: 'Write NAMESPACE/NAME/FILE of the record.' },
  SPH006: {
    message: 'what was sent for {} is not whole lines of it ({})',
    hint: 'Send whole lines; the first one of a segment names the stream that it belongs to.',
  },
  SPH007: {
    message: 'a request has {} bytes, and at most {} are taken',
    hint: 'Send fewer lines at a time.',
  },
  SPH008: {
    message: '{} has used up its {} bytes of the archive',
    hint: 'Raise archiveServer.quotaBytes, or keep fewer days.',
  },
  SPH009: {
    message: 'the archive cannot be written ({})',
    hint: 'It is tried again by itself. Free or repair the disk of the archive.',
  },
  SPH010: {
    message: 'the certificate names no proxy ({})',
    hint: 'Give the proxy a certificate with one common name of letters, digits and . _ : @ / -',
  },
  SPH011: { message: 'the archive has fewer than {} free bytes left', hint: 'Free space on the disk of the archive.' },
  SPH013: { message: 'the configuration has no archiveServer', hint: 'Add archiveServer: see docs/archive.md.' },
  SPH014: { message: '{} cannot be used: {}', hint: 'Correct the file.' },
  SPH015: {
    message: 'the sink {} answered with status {}',
    hint: 'It is tried again by itself; the log of the receiver says what it did not like.',
  },
  SPH016: {
    message: 'the archive refused {} ({})',
    hint: 'The log of the archive says why. It is tried again by itself; other streams go on where the refusal is about this one.',
  },
  SPH017: {
    message: 'segment {} of {} was removed before {} had it',
    hint: 'Keep records longer than receivers are down, or find out who removed the file.',
  },
  SPH018: {
    message: '{} is no approval that could be noted',
    hint: 'PUT or GET /v1/used/NAMESPACE/UID, with the uid of an ApprovalRequest.',
  },
  SPH012: {
    message: 'the namespace {} has {} approvals noted as used, which is as many as are kept',
    hint: 'That is more than people approve in a month: find out what its proxies do. Notes are forgotten after 31 days.',
  },
  SPH019: {
    message: '{} may not note approvals of the namespace {}',
    hint: 'A proxy notes those of its own namespace, which its certificate names: NAMESPACE/sallyport-proxy.',
  },
  SPH030: {
    message: 'who asks is not known: {}',
    hint: 'Give a token that the API server accepts, or a client certificate of the cluster.',
  },
  SPH031: {
    message: '{} may not read the record of {}',
    hint: 'Grant the verb audit on that AccessConnection: examples/auditors-rbac.yaml.',
  },
  SPH032: { message: 'the record has no {}', hint: 'List what there is; what may not be read is not listed either.' },
  SPH033: { message: 'the request is not understood: {}', hint: 'Use the same release on both sides.' },
  SPH034: {
    message: 'the API server cannot be asked who reads and what they may ({})',
    hint: 'Nothing is shown until it answers; try again.',
  },
  SPH036: { message: 'the record cannot be read ({})', hint: 'See the disk of the archive.' },
  SPH035: { message: 'too many are reading at once', hint: 'Try again in a moment.' },
} as const;

export type ArchiveErrorCode = keyof typeof ARCHIVE_ERRORS;

export class ArchiveError extends Error {
  override readonly name = 'ArchiveError';
  readonly code: ArchiveErrorCode;
  readonly hint: string;
  /** Milliseconds that the receiver asks to be left alone. */
  readonly retryAfterMs: number | undefined;

  constructor(code: ArchiveErrorCode, fill: readonly (string | number)[], cause?: unknown, retryAfterMs?: number) {
    let next = 0;
    const message = ARCHIVE_ERRORS[code].message.replace(/\{\}/g, () => String(fill[next++] ?? ''));
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = ARCHIVE_ERRORS[code].hint;
    this.retryAfterMs = retryAfterMs;
  }
}
