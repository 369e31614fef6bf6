/** What an ELF library asks of others: read from its symbol tables, so that no binutils are needed. */

const DYNSYM = 11;
const NEEDED = 1;
const RUNPATH = 29;
const DYNAMIC = 6;
const VERNEED = 0x6ffffffe;
const VERSYM = 0x6fffffff;
const MACHINES = { 62: "x64", 183: "arm64" };

/**
 * @typedef {object} Elf
 * @property {string} cpu As Node.js names it.
 * @property {string[]} needed Libraries that the loader brings.
 * @property {string | null} runpath
 * @property {{ symbol: string, version: string, library: string }[]} asked Symbols that have to come in a version.
 *
 * @param {Buffer} bytes Of a 64-bit little-endian library.
 * @returns {Elf}
 * @throws {TypeError} where it is something else.
 */
export function readElf(bytes) {
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1)
    throw new TypeError("expected a 64-bit little-endian ELF library");
  const u64 = (at) => Number(bytes.readBigUInt64LE(at));
  const table = u64(40);
  const sections = Array.from({ length: bytes.readUInt16LE(60) }, (_, i) => {
    const at = table + i * bytes.readUInt16LE(58);
    const [offset, size] = [u64(at + 24), u64(at + 32)];
    return { type: bytes.readUInt32LE(at + 4), offset, size, link: bytes.readUInt32LE(at + 40) };
  });
  const find = (type) => sections.find((section) => section.type === type);
  const text = (strings, at) => {
    const from = sections[strings].offset + at;
    return bytes.toString("utf8", from, bytes.indexOf(0, from));
  };
  const cpu = MACHINES[bytes.readUInt16LE(18)] ?? `machine ${bytes.readUInt16LE(18)}`;
  const entries = readDynamic(bytes, find(DYNAMIC), u64);
  const strings = find(DYNAMIC)?.link;
  const named = (tag) => entries.filter((entry) => entry.tag === tag).map(({ value }) => text(strings, value));
  const versions = readVersions(bytes, find(VERNEED), text);
  const asked = [];
  const [symbols, indices] = [find(DYNSYM), find(VERSYM)];
  for (let i = 0; symbols !== undefined && indices !== undefined && i < symbols.size / 24; i++) {
    const version = versions.get(bytes.readUInt16LE(indices.offset + 2 * i) & 0x7fff);
    if (version !== undefined)
      asked.push({ symbol: text(symbols.link, bytes.readUInt32LE(symbols.offset + 24 * i)), ...version });
  }
  return { cpu, needed: named(NEEDED), runpath: named(RUNPATH)[0] ?? null, asked };
}

function readDynamic(bytes, section, u64) {
  const count = section === undefined ? 0 : section.size / 16;
  return Array.from({ length: count }, (_, i) => {
    const at = section.offset + 16 * i;
    return { tag: u64(at), value: u64(at + 8) };
  });
}

/** The versions that symbols are marked with, by number. */
function readVersions(bytes, section, text) {
  const versions = new Map();
  if (section === undefined) return versions;
  for (let at = section.offset, next = 1; next !== 0; at += next) {
    const library = text(section.link, bytes.readUInt32LE(at + 4));
    const first = at + bytes.readUInt32LE(at + 8);
    for (let each = first, step = 1; step !== 0; each += step) {
      const version = text(section.link, bytes.readUInt32LE(each + 8));
      versions.set(bytes.readUInt16LE(each + 6), { version, library });
      step = bytes.readUInt32LE(each + 12);
    }
    next = bytes.readUInt32LE(at + 12);
  }
  return versions;
}

const FAMILIES = ["GLIBC", "GLIBCXX", "CXXABI"];

/**
 * The newest version of each family that is asked for: `{ GLIBC: "2.28", GLIBCXX: "3.4.22", CXXABI: "1.3.11" }`.
 * @param {readonly Elf[]} libraries
 */
export function newestAsked(libraries) {
  const newest = {};
  for (const { version } of libraries.flatMap(({ asked }) => asked)) {
    const [family, number] = split(version);
    if (FAMILIES.includes(family) && isNewer(number, newest[family] ?? "0")) newest[family] = number;
  }
  return newest;
}

/**
 * What asks for more than `limits` allow.
 * @param {Elf} elf
 * @param {Record<string, string>} limits As `newestAsked` answers.
 */
export function beyond(elf, limits) {
  return elf.asked.filter(({ version }) => {
    const [family, number] = split(version);
    return FAMILIES.includes(family) && isNewer(number, limits[family] ?? "0");
  });
}

/** Versions that are words (`GLIBC_PRIVATE`, `CXXABI_TM_1`) are newer than any number: nothing may ask for them. */
function split(version) {
  const at = version.lastIndexOf("_");
  const number = version.slice(at + 1);
  return [version.slice(0, version.indexOf("_")), /^[\d.]+$/.test(number) ? number : "Infinity"];
}

export function isNewer(a, b) {
  const [left, right] = [a, b].map((version) => version.split(".").map(Number));
  for (let i = 0; i < Math.max(left.length, right.length); i++)
    if ((left[i] ?? 0) !== (right[i] ?? 0)) return (left[i] ?? 0) > (right[i] ?? 0);
  return false;
}
