/** DataRow messages for the fuzz tests, written and read the plain way: what the product's header walk is compared with. */

export type Value = Buffer | null;

export function encodeRow(values: readonly Value[]): Buffer {
  const parts: Buffer[] = [Buffer.alloc(2)];
  parts[0]!.writeUInt16BE(values.length);
  for (const value of values) {
    const length = Buffer.alloc(4);
    length.writeInt32BE(value === null ? -1 : value.length);
    parts.push(length);
    if (value !== null) parts.push(value);
  }
  return Buffer.concat(parts);
}

/** The values of a whole DataRow message. @throws Error when it is not exactly one */
export function decodeMessage(message: Buffer): Value[] {
  if (message[0] !== 0x44 || message.readUInt32BE(1) !== message.length - 1) throw new Error('not one DataRow');
  const values: Value[] = [];
  let at = 7;
  for (let n = message.readUInt16BE(5); n > 0; n--) {
    const length = message.readInt32BE(at);
    at += 4;
    values.push(length === -1 ? null : message.subarray(at, at + length));
    at += Math.max(0, length);
  }
  if (at !== message.length) throw new Error('lengths do not add up');
  return values;
}
