import type { FieldReader, Raw } from './fields.ts';

/**
 * Extensions of OpenSSH (its file PROTOCOL, section 4) that are decided here, with the versions that are meant. Every other one is
 * refused, and taken out of what the server says it knows.
 */
export const EXTENSIONS: ReadonlyMap<string, string> = new Map([
  ['posix-rename@openssh.com', '1'],
  ['statvfs@openssh.com', '2'],
  ['fstatvfs@openssh.com', '2'],
  ['hardlink@openssh.com', '1'],
  ['fsync@openssh.com', '1'],
  ['lsetstat@openssh.com', '1'],
  ['limits@openssh.com', '1'],
  ['expand-path@openssh.com', '1'],
  ['copy-data', '1'],
  ['home-directory', '1'],
  ['users-groups-by-id@openssh.com', '1'],
]);

/** More than any server has, and few enough to look at. */
const MAX_EXTENSIONS = 64;
const MAX_NAME = 256;
const MAX_DATA = 4096;

/** The extension pairs of a server's VERSION that clients may hear of. @param fields after the version number */
export function knownExtensions(fields: FieldReader): readonly Raw[] {
  const known: Raw[] = [];
  for (let count = 0; fields.left > 0 && count < MAX_EXTENSIONS; count++) {
    const name = fields.string(MAX_NAME);
    const data = fields.string(MAX_DATA);
    if (EXTENSIONS.get(name.toString('latin1')) !== data.toString('latin1')) continue;
    known.push(lengthAndBytes(name), lengthAndBytes(data));
  }
  return known;
}

/** A string field. */
export function lengthAndBytes(bytes: Buffer): Raw {
  const raw = Buffer.alloc(4 + bytes.length);
  raw.writeUInt32BE(bytes.length);
  bytes.copy(raw, 4);
  return { raw };
}
