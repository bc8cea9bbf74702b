import { CalicoP4Error } from '../../errors';

/** Reads big-endian numbers and strings out of an engine's answer. Throws TARGET_UNREACHABLE when it is cut short. */
export class ByteReader {
  private at = 0;

  constructor(private readonly bytes: Buffer) {}

  get done(): boolean {
    return this.at === this.bytes.length;
  }

  private take(length: number): number {
    const { at } = this;
    if (at + length > this.bytes.length)
      throw new CalicoP4Error('TARGET_UNREACHABLE', 'the engine sent an answer that is cut short');
    this.at += length;
    return at;
  }

  u8(): number {
    return this.bytes.readUInt8(this.take(1));
  }

  u16(): number {
    return this.bytes.readUInt16BE(this.take(2));
  }

  u32(): number {
    return this.bytes.readUInt32BE(this.take(4));
  }

  u64(): bigint {
    return this.bytes.readBigUInt64BE(this.take(8));
  }

  raw(length: number): Buffer {
    const at = this.take(length);
    return this.bytes.subarray(at, at + length);
  }

  /** An unsigned number of any width. */
  value(bytes: number): bigint {
    const at = this.take(bytes);
    if (bytes <= 6) return BigInt(this.bytes.readUIntBE(at, bytes));
    if (bytes === 8) return this.bytes.readBigUInt64BE(at);
    return BigInt(`0x${this.bytes.toString('hex', at, at + bytes)}`);
  }

  name(): string {
    return this.raw(this.u8()).toString('utf8');
  }
}

/** Writes big-endian numbers and strings into a buffer that grows. */
export class ByteWriter {
  private bytes: Buffer;
  private at = 0;

  constructor(room = 256) {
    this.bytes = Buffer.allocUnsafe(room);
  }

  private space(length: number): number {
    const { at } = this;
    if (at + length > this.bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(2 * this.bytes.length, at + length));
      this.bytes.copy(larger, 0, 0, at);
      this.bytes = larger;
    }
    this.at += length;
    return at;
  }

  u8(value: number): this {
    const at = this.space(1);
    this.bytes.writeUInt8(value, at);
    return this;
  }

  u16(value: number): this {
    const at = this.space(2);
    this.bytes.writeUInt16BE(value, at);
    return this;
  }

  u32(value: number): this {
    const at = this.space(4);
    this.bytes.writeUInt32BE(value, at);
    return this;
  }

  u64(value: bigint): this {
    const at = this.space(8);
    this.bytes.writeBigUInt64BE(BigInt.asUintN(64, value), at);
    return this;
  }

  raw(value: Uint8Array): this {
    const at = this.space(value.length);
    this.bytes.set(value, at);
    return this;
  }

  /** An unsigned number of any width; it must fit. */
  value(value: bigint, bytes: number): this {
    const at = this.space(bytes);
    if (bytes <= 6) this.bytes.writeUIntBE(Number(value), at, bytes);
    else if (bytes === 8) this.bytes.writeBigUInt64BE(value, at);
    else this.bytes.write(value.toString(16).padStart(2 * bytes, '0'), at, bytes, 'hex');
    return this;
  }

  /** @throws CalicoP4Error USAGE for what is longer than the 255 bytes of a message's string */
  name(value: string): this {
    const bytes = Buffer.from(value, 'utf8');
    if (bytes.length > 255)
      throw new CalicoP4Error('USAGE', `'${value}' is longer than 255 bytes, the most that the engine takes`);
    return this.u8(bytes.length).raw(bytes);
  }

  get length(): number {
    return this.at;
  }

  finish(): Buffer {
    return this.bytes.subarray(0, this.at);
  }
}
