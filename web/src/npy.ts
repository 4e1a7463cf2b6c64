/** Arrays as .npy files (format 1.0 of NumPy's own description), and several in an .npz. */

export type Numbers = Float32Array | Uint8Array | Int32Array;

export interface NdArray {
  shape: number[];
  data: Numbers;
}

const KINDS: Record<string, (buffer: ArrayBuffer, at: number, count: number) => Numbers> = {
  "<f4": (buffer, at, count) => aligned(Float32Array, buffer, at, count),
  "<i4": (buffer, at, count) => aligned(Int32Array, buffer, at, count),
  "|u1": (buffer, at, count) => new Uint8Array(buffer, at, count),
  "|b1": (buffer, at, count) => new Uint8Array(buffer, at, count),
  "<f8": (buffer, at, count) => Float32Array.from(aligned(Float64Array, buffer, at, count)),
  "<i8": (buffer, at, count) => Int32Array.from(aligned(BigInt64Array, buffer, at, count), Number),
};

type Maker<T> = { new (buffer: ArrayBuffer, at: number, count: number): T; BYTES_PER_ELEMENT: number };

function aligned<T>(kind: Maker<T>, buffer: ArrayBuffer, at: number, count: number): T {
  if (at % kind.BYTES_PER_ELEMENT === 0) return new kind(buffer, at, count);
  return new kind(buffer.slice(at, at + count * kind.BYTES_PER_ELEMENT), 0, count);
}

/** The array in a .npy file; throws on what no diabolo writes. */
export function parseNpy(buffer: ArrayBuffer): NdArray {
  const bytes = new Uint8Array(buffer);
  if (bytes.length < 10 || bytes[0] !== 0x93 || String.fromCharCode(...bytes.subarray(1, 6)) !== "NUMPY") {
    throw new Error("The answer is no .npy array.");
  }
  const view = new DataView(buffer);
  const long = bytes[6] >= 2;
  const length = long ? view.getUint32(8, true) : view.getUint16(8, true);
  const start = long ? 12 : 10;
  const header = new TextDecoder("latin1").decode(bytes.subarray(start, start + length));
  const descr = /'descr': *'([^']+)'/.exec(header)?.[1] ?? "";
  const shape = (/'shape': *\(([^)]*)\)/.exec(header)?.[1] ?? "").split(",").filter((s) => s.trim()).map(Number);
  const read = KINDS[descr];
  if (!read || /'fortran_order': *True/.test(header)) throw new Error(`An array of kind ${descr} cannot be read here.`);
  return { shape, data: read(buffer, start + length, shape.reduce((a, b) => a * b, 1)) };
}

/** A .npy file. */
export function writeNpy({ shape, data }: NdArray): Uint8Array<ArrayBuffer> {
  const descr = data instanceof Uint8Array ? "|u1" : data instanceof Int32Array ? "<i4" : "<f4";
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  const words = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${tuple}, }`;
  const header = words.padEnd(Math.ceil((words.length + 11) / 64) * 64 - 11) + "\n";
  const made = new Uint8Array(10 + header.length + data.byteLength);
  made.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 255, header.length >> 8]);
  made.set(new TextEncoder().encode(header), 10);
  made.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 10 + header.length);
  return made;
}

/** Several arrays in one .npz: a zip whose members are stored as they are. */
export function writeNpz(arrays: Record<string, NdArray>): Blob {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const directory: Uint8Array<ArrayBuffer>[] = [];
  let offset = 0;
  for (const [name, array] of Object.entries(arrays)) {
    const file = new TextEncoder().encode(`${name}.npy`);
    const body = writeNpy(array);
    const common = zipFields(file.length, body);
    const local = new Uint8Array([0x50, 0x4b, 3, 4, ...common]);
    directory.push(new Uint8Array([0x50, 0x4b, 1, 2, 20, 0, ...common, ...Array(10).fill(0), ...le(offset, 4)]), file);
    parts.push(local, file, body);
    offset += local.length + file.length + body.length;
  }
  const size = directory.reduce((total, part) => total + part.length, 0);
  const count = directory.length / 2;
  const end = [0x50, 0x4b, 5, 6, 0, 0, 0, 0, ...le(count, 2), ...le(count, 2), ...le(size, 4), ...le(offset, 4), 0, 0];
  return new Blob([...parts, ...directory, new Uint8Array(end)], { type: "application/zip" });
}

/** Version, flags, method, time, date, checksum, sizes and the lengths of name and extra field. */
function zipFields(nameLength: number, body: Uint8Array): number[] {
  const size = le(body.length, 4);
  return [20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0, ...le(crc32(body), 4), ...size, ...size, ...le(nameLength, 2), 0, 0];
}

function le(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => Math.floor(value / 2 ** (8 * i)) & 255);
}

let crcTable: Uint32Array | undefined;

function crc32(bytes: Uint8Array): number {
  crcTable ??= Uint32Array.from({ length: 256 }, (_, n) => {
    for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n;
  });
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = crcTable[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
