/**
 * What the file lanes refuse by themselves, apart from policy: one table. Codes of the SSH area; `{}` is filled by the place that
 * raises it. Of a request that is refused the client sees `message` in the text of SSH_FX_PERMISSION_DENIED or SSH_FX_FAILURE; a
 * protocol violation ends the channel.
 */
export const FILE_ERRORS = {
  SPS070: 'SFTP protocol violation by the client: {}',
  SPS071: 'SFTP protocol violation by the target: {}',
  SPS072: 'the path cannot be judged: {}',
  SPS073: 'there is no open file or folder with this handle',
  SPS074: 'the file was not opened for {}',
  SPS075: 'the extension {} is not known here, so it is not passed on',
  SPS076: 'more than {} files are open',
  SPS077: 'more than {} bytes were read, the limit of this file',
  SPS078: 'the path came to mean another file while the request was held',
  SPS079: 'policy has changed since this was opened, and asks for more now: open it again',
  SPS081: 'scp protocol violation by the client: {}',
  SPS082: 'scp protocol violation by the target: {}',
  SPS083: 'the contents of {} are protected where they lie, so it does not go elsewhere',
  SPS084: 'the contents of {} are masked for you, so they can only be read',
} as const;

export type FileErrorCode = keyof typeof FILE_ERRORS;

export function fileErrorText(code: FileErrorCode, fill = ''): string {
  return FILE_ERRORS[code].replace('{}', () => fill);
}

/** Bytes that are not the protocol, or not all of it: the channel ends. */
export class FileProtocolError extends Error {
  override readonly name = 'FileProtocolError';
  readonly code: FileErrorCode;
  constructor(code: FileErrorCode, fill: string) {
    super(fileErrorText(code, fill));
    this.code = code;
  }
}
