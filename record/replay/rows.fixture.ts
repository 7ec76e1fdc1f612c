/** Messages of PostgreSQL's protocol, as they are recorded. */

const cell = (value: string | Buffer | null): Buffer => {
  const length = Buffer.alloc(4);
  if (value === null) {
    length.writeInt32BE(-1);
    return length;
  }
  const bytes = Buffer.from(value as string);
  length.writeInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
};

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type, 'latin1');
  head.writeUInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}

/** A DataRow message. */
export function dataRow(...cells: readonly (string | Buffer | null)[]): Buffer {
  const count = Buffer.alloc(2);
  count.writeUInt16BE(cells.length);
  return message('D', Buffer.concat([count, ...cells.map(cell)]));
}

/** A CopyData message. */
export function copyData(text: string | Buffer): Buffer {
  return message('d', Buffer.from(text as string));
}
