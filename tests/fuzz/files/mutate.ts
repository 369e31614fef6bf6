/**
 * Changes to a file. Each takes bytes and gives bytes, so that any number of them can be made one after the other, and
 * left out one by one.
 */
import { BITS, putTogether, takeApart, type Container, type Part } from "./container.js";
import { doubleKey, mutateJson, strangeValue } from "./json.js";
import type { Random } from "./random.js";

export type Mutation = (file: Buffer, random: Random) => Buffer;
/** In which ways a file can be taken apart. */
export type Kind = "safetensors" | "json-lines" | "json" | "csv" | "idx" | "torch" | "npy";

const STATE = "nbit.state";

// Bytes, of any file.

const flipBits: Mutation = (file, random) => {
  const copy = Buffer.from(file);
  const times = 1 + random.below(4);
  for (let i = 0; i < times && copy.length > 0; i++) {
    const at = random.below(copy.length);
    copy[at] = (copy[at] ?? 0) ^ (1 << random.below(8));
  }
  return copy;
};
const cut: Mutation = (file, random) => file.subarray(0, random.below(file.length + 1));
const extend: Mutation = (file, random) =>
  Buffer.concat([file, Buffer.alloc(1 + random.below(100), random.below(256))]);
const overwrite: Mutation = (file, random) => {
  const copy = Buffer.from(file);
  const at = random.below(copy.length);
  copy.fill(random.pick([0, 0xff, 0x7f, 0x20, 0x22]), at, Math.min(copy.length, at + 1 + random.below(64)));
  return copy;
};
const doubleRange: Mutation = (file, random) => {
  const [at, length] = [random.below(file.length), 1 + random.below(200)];
  return Buffer.concat([file.subarray(0, at), file.subarray(at, at + length), file.subarray(at)]);
};
const removeRange: Mutation = (file, random) => {
  const [at, length] = [random.below(file.length), 1 + random.below(64)];
  return Buffer.concat([file.subarray(0, at), file.subarray(at + length)]);
};
const BYTES: readonly Mutation[] = [flipBits, flipBits, cut, extend, overwrite, doubleRange, removeRange];

// Safetensors: the tensors, the header, the state in it.

/** A mutation of what a file is made of; the file itself where that cannot be had. */
const inside =
  (change: (container: Container, random: Random) => void): Mutation =>
  (file, random) => {
    const container = takeApart(file);
    if (container === null) return flipBits(file, random);
    change(container, random);
    return putTogether(container);
  };

function withPart(change: (part: Part, random: Random, container: Container) => void): Mutation {
  return inside((container, random) => {
    if (container.parts.length > 0) change(random.pick(container.parts), random, container);
  });
}

/** A tensor of another shape, with data that fits: nothing about the file itself is wrong. */
const reshape = withPart((part, random) => {
  const bits = BITS[part.dtype] ?? 8;
  const shape = random.pick<readonly number[]>([
    [],
    [0],
    [1],
    [2],
    [7],
    [1, 1],
    [2, 3],
    [3, 2],
    [100],
    [4, 0],
    [64, 64],
    Array<number>(65).fill(1),
  ]);
  part.shape = shape;
  part.data = resized(part.data, (shape.reduce((n, s) => n * s, 1) * bits) / 8, random);
});
const transpose = withPart((part) => {
  if (Array.isArray(part.shape)) part.shape = part.shape.toReversed();
});
const recast = withPart((part, random) => {
  const dtype = random.pick(Object.keys(BITS));
  const elements = (part.data.length * 8) / (BITS[part.dtype] ?? 8);
  part.dtype = dtype;
  part.data = resized(part.data, (elements * (BITS[dtype] ?? 8)) / 8, random);
});
const refill = withPart((part, random) => {
  const value = random.pick([0, 0xff, 0x7f, 0x80, 0x3f]);
  if (random.chance(0.5) || part.data.length === 0) part.data.fill(value);
  else part.data.fill(value, random.below(part.data.length));
});
const flipData = withPart((part, random) => {
  part.data = flipBits(part.data, random);
});
const lie = withPart((part, random) => {
  part.shape = random.chance(0.5)
    ? strangeValue(random, [])
    : [
        random.pick([0, 1, 2 ** 31, 2 ** 53, 2 ** 63, -1, 1.5]),
        ...(Array.isArray(part.shape) ? (part.shape as unknown[]) : []),
      ];
});
const lose = withPart((part, _random, container) => {
  container.parts.splice(container.parts.indexOf(part), 1);
});
const double = withPart((part, random, container) => {
  container.parts.push({ ...part, name: random.chance(0.5) ? part.name : `${part.name}.x` });
});
const exchange = withPart((part, random, container) => {
  const other = random.pick(container.parts);
  [part.name, other.name] = [other.name, part.name];
});
const rename = withPart((part, random) => {
  part.name = random.pick([
    `${part.name}x`,
    "",
    "__proto__",
    "constructor",
    "\u001b[2J",
    "state.0.step",
    "model.",
    "a\u0000b",
  ]);
});

const metadata = inside((container, random) => {
  container.metadata ??= {};
  mutateJson(container.metadata, random);
});
/** A change in the state, which is JSON text in the header. */
const state = inside((container, random) => {
  const text = container.metadata?.[STATE];
  if (container.metadata === null || typeof text !== "string") return;
  container.metadata[STATE] = changeText(
    text,
    random,
    container.parts.map((p) => p.name),
  );
});

function changeText(text: string, random: Random, names: readonly string[]): string {
  if (random.chance(0.05)) return doubleKey(text, random);
  if (random.chance(0.03)) return flipBits(Buffer.from(text), random).toString();
  try {
    const root = { state: JSON.parse(text) as unknown };
    mutateJson(root, random, names);
    return JSON.stringify(root.state) ?? "null";
  } catch {
    // No JSON any more, or nested too deep to be written.
    return text;
  }
}

const header: Mutation = (file, random) => {
  const container = takeApart(file);
  if (container === null) return flipBits(file, random);
  return putTogether(container, (text) => {
    switch (random.below(4)) {
      case 0:
        return doubleKey(text, random);
      case 1:
        return flipBits(Buffer.from(text), random).toString("latin1");
      case 2:
        return text.replace(
          /"data_offsets":\[\d+,\d+\]/,
          () => `"data_offsets":${JSON.stringify(strangeValue(random, []))}`,
        );
      default:
        return changeText(text, random, []);
    }
  });
};
const length: Mutation = (file, random) => {
  const copy = Buffer.from(file);
  if (copy.length >= 8)
    copy.writeBigUInt64LE(
      random.pick([
        0n,
        1n,
        7n,
        100_000_000n,
        100_000_001n,
        2n ** 32n,
        2n ** 63n,
        2n ** 64n - 1n,
        BigInt(copy.length),
        BigInt(copy.length - 8),
      ]),
    );
  return copy;
};

function resized(data: Buffer, size: number, random: Random): Buffer {
  const made = Buffer.alloc(Math.ceil(size), random.pick([0, 1, 0x3f]));
  data.copy(made);
  return made;
}

const SAFETENSORS: readonly Mutation[] = [
  ...Array<Mutation>(14).fill(state),
  reshape,
  reshape,
  transpose,
  recast,
  refill,
  flipData,
  lie,
  lose,
  double,
  exchange,
  rename,
  metadata,
  header,
  length,
];

// Text.

const changeLine =
  (change: (line: string, random: Random) => string): Mutation =>
  (file, random) => {
    const lines = file.toString().split("\n");
    const at = random.below(Math.max(1, lines.length - 1));
    lines[at] = change(lines[at] ?? "", random);
    return Buffer.from(lines.join("\n"));
  };
const moveLine: Mutation = (file, random) => {
  const lines = file.toString().split("\n");
  const [line = ""] = lines.splice(random.below(lines.length), 1);
  if (random.chance(0.7)) lines.splice(random.below(lines.length + 1), 0, line);
  if (random.chance(0.3)) lines.splice(random.below(lines.length + 1), 0, line);
  return Buffer.from(lines.join("\n"));
};
const jsonLine = changeLine((line, random) => changeText(line, random, []));
const cell = changeLine((line, random) => {
  const cells = line.split(",");
  cells[random.below(cells.length)] = random.pick([
    "",
    "nan",
    "x",
    '"',
    '"a,b"',
    "1e999",
    "-0.0",
    "step",
    "\u001b[2J",
    "a\rb",
    "9".repeat(400),
  ]);
  if (random.chance(0.3)) cells.splice(random.below(cells.length), 1);
  return cells.join(",");
});
const wholeJson: Mutation = (file, random) => Buffer.from(changeText(file.toString(), random, []));

// IDX: a type, a number of sizes, sizes of 32 bits.

const idxHead: Mutation = (file, random) => {
  const copy = Buffer.from(file);
  if (copy.length < 8) return copy;
  const which = random.below(3);
  if (which === 0) copy[2] = random.pick([8, 9, 11, 12, 13, 14, 0, 10, 255]);
  else if (which === 1) copy[3] = random.pick([0, 1, 2, 3, 4, 255]);
  else
    copy.writeUInt32BE(
      random.pick([0, 1, 2, 0xffffffff, 0x7fffffff, 65536]),
      4 + 4 * random.below(Math.max(1, Math.min(3, Math.floor(copy.length / 4) - 1))),
    );
  return copy;
};

// Files of torch.save: a pickle, stored as it is, in an archive with a directory at its end.

const OPERATIONS = Buffer.from("NKMJGXB]}()tesuahjqrcRbQ.0(\x80\x81\x85\x86\x87\x88\x89\x8a\x8c\x93\x94", "latin1");
/** Where the first pickle begins and ends. */
function pickleIn(file: Buffer): readonly [number, number] {
  const start = Math.max(0, file.indexOf(Buffer.from([0x80, 2])));
  const end = file.indexOf("PK", start + 2);
  return [start, end < 0 ? file.length : end];
}
const operation: Mutation = (file, random) => {
  const copy = Buffer.from(file);
  const [start, end] = pickleIn(copy);
  if (end > start) copy[start + random.below(end - start)] = OPERATIONS[random.below(OPERATIONS.length)] ?? 0;
  return copy;
};
const operand: Mutation = (file, random) => {
  const copy = Buffer.from(file);
  const [start, end] = pickleIn(copy);
  if (end - start < 12) return copy;
  const at = start + 2 + random.below(end - start - 10);
  if (random.chance(0.5)) copy[at] = random.pick([0, 1, 2, 0x7f, 0x80, 0xff]);
  else copy.writeUInt32LE(random.pick([0, 1, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff]), at);
  return copy;
};
/** A number in a record of the archive: the directory's, the end's, or a file's own. */
const record: Mutation = (file, random) => {
  const copy = Buffer.from(file);
  const places: number[] = [];
  for (let at = copy.indexOf("PK"); at >= 0; at = copy.indexOf("PK", at + 2)) places.push(at);
  if (places.length === 0) return copy;
  const at = random.pick(places) + 4 + 2 * random.below(20);
  if (at + 4 <= copy.length)
    copy.writeUInt32LE(random.pick([0, 1, 8, 0xffff, 0x10000, 0x7fffffff, 0xffffffff, copy.length]), at);
  return copy;
};
const npyHead: Mutation = (file, random) => {
  const text = file.toString("latin1");
  const changed = random.pick([
    text.replace(
      /'shape': \([^)]*\)/,
      `'shape': (${random.pick(["", "1,", "0, 9", "99999999999999999999,", "3, 4, 5, 1", "-1,"])})`,
    ),
    text.replace(/'descr': '[^']*'/, `'descr': '${random.pick([">f8", "|O", "<i2", "|b1", "<U3", "<c16", ""])}'`),
    text.replace("False", random.pick(["True", "None", ""])),
  ]);
  return Buffer.from(changed, "latin1");
};

const OF_KIND: Readonly<Record<Kind, readonly Mutation[]>> = {
  safetensors: SAFETENSORS,
  "json-lines": [jsonLine, jsonLine, jsonLine, moveLine],
  json: [wholeJson],
  csv: [cell, cell, moveLine],
  idx: [idxHead],
  torch: [operation, operation, operand, operand, record],
  npy: [npyHead, npyHead, record],
};

/** One to four changes: mostly such as know the kind of file, else of bytes. */
export function draw(kind: Kind, random: Random): Mutation[] {
  const count = random.pick([1, 1, 1, 2, 2, 3, 4]);
  return Array.from({ length: count }, () => (random.chance(0.8) ? random.pick(OF_KIND[kind]) : random.pick(BYTES)));
}
