/**
 * entry.ts NODE CODE OUTPUT: writes NODE so that it first runs CODE, the instructions of native/node/entry.S.
 *
 * A linker starts each segment of a program on a page of its own, and so leaves unused space behind it. This program
 * extends an executable segment into that space by the code, and makes the code the entry point: elf(5).
 */
import { readFileSync, writeFileSync } from 'node:fs';

const [node, instructions, output] = process.argv.slice(2);
if (!node || !instructions || !output) throw new Error('usage: entry.ts NODE CODE OUTPUT');

/** Offsets in the header of a 64-bit ELF file, and in a program header. */
const HEADER = { entry: 24, programHeaders: 32, size: 54, count: 56 } as const;
const PROGRAM_HEADER = { type: 0, flags: 4, offset: 8, address: 16, fileBytes: 32, memoryBytes: 40 } as const;
const PT_LOAD = 1;
const PF_X = 1;
/** The largest page size of both architectures. No two segments may share a page. */
const PAGE_BYTES = 0x1_0000;
/** The alignment of a function. */
const ALIGNMENT = 16;

const image = readFileSync(node);
const code = readFileSync(instructions);
const { segment, offset } = findRoom();
const address = segment.address + offset - segment.offset;

image.set(code, offset);
// The last word of the code is the distance from its start to the former entry point.
image.writeBigInt64LE(image.readBigInt64LE(HEADER.entry) - BigInt(address), offset + code.length - 8);
image.writeBigUInt64LE(BigInt(address), HEADER.entry);
const length = BigInt(offset + code.length - segment.offset);
image.writeBigUInt64LE(length, segment.header + PROGRAM_HEADER.fileBytes);
image.writeBigUInt64LE(length, segment.header + PROGRAM_HEADER.memoryBytes);
writeFileSync(output, image, { mode: 0o755 });

/** The space behind an executable segment that is unused in the file and in memory. */
function findRoom() {
  const loaded = segments().filter(({ type }) => type === PT_LOAD);
  for (const [index, segment] of loaded.entries()) {
    const next = loaded[index + 1];
    if (!next || !(segment.flags & PF_X) || segment.fileBytes !== segment.memoryBytes) continue;
    const offset = Math.ceil((segment.offset + segment.fileBytes) / ALIGNMENT) * ALIGNMENT;
    const end = offset + code.length;
    const fits =
      end <= next.offset && segment.address + end - segment.offset <= next.address - (next.address % PAGE_BYTES);
    if (fits && image.subarray(offset, end).every((byte) => byte === 0)) return { segment, offset };
  }
  throw new Error(`${node}: no executable segment has ${code.length} bytes of room behind it: readelf -lW ${node}`);
}

/** In the order of their addresses, which is the order of their places in the file. */
function segments() {
  const start = Number(image.readBigUInt64LE(HEADER.programHeaders));
  return Array.from({ length: image.readUInt16LE(HEADER.count) }, (_, index) => {
    const header = start + index * image.readUInt16LE(HEADER.size);
    const word = (field: keyof typeof PROGRAM_HEADER) => Number(image.readBigUInt64LE(header + PROGRAM_HEADER[field]));
    return {
      header,
      type: image.readUInt32LE(header + PROGRAM_HEADER.type),
      flags: image.readUInt32LE(header + PROGRAM_HEADER.flags),
      offset: word('offset'),
      address: word('address'),
      fileBytes: word('fileBytes'),
      memoryBytes: word('memoryBytes'),
    };
  });
}
