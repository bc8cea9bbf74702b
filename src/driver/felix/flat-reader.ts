import { Reader } from 'protobufjs';

/**
 * A reader of protobufjs whose short ASCII strings (addresses, names) are made in one piece. Its own way is to join them of pieces of
 * eight characters: V8 keeps each piece, and puts them together when the string is first looked up, which costs more than the rest of
 * the decoding. Everything else, errors too, is protobufjs's own.
 */
export function createFlatReader(body: Uint8Array): Reader {
  const reader = Reader.create(
    Buffer.isBuffer(body) ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength),
  );
  reader.stringVerify = shortString;
  return reader;
}

function shortString(this: Reader): string {
  const { buf, pos } = this;
  // One byte of length; undefined at the end.
  const length = buf[pos];
  if (length === undefined || length > 0x7f || pos + 1 + length > this.len) {
    return Reader.prototype.stringVerify.call(this);
  }
  const end = pos + 1 + length;
  for (let i = pos + 1; i < end; i++) {
    if (buf[i]! > 0x7f) {
      return Reader.prototype.stringVerify.call(this);
    }
  }
  this.pos = end;
  return (buf as Buffer).toString('latin1', pos + 1, end);
}
