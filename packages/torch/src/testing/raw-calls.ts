/**
 * Calls every function of the addon with values that nobody should give it: `node raw-calls.js <seed> <calls>`. A
 * process of its own, for it may set anything.
 */
import { writeSync } from "node:fs";
import { argBuffer, native } from "../native.js";
import * as torch from "../index.js";

const [seed = 1, calls = 1000] = process.argv.slice(2).map(Number);
let state = seed;
/** A small generator with a fixed course (mulberry32). */
function random(n: number): number {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) % n;
}
const pick = <T>(list: readonly T[]): T => list[random(list.length)] as T;

/**
 * Functions after which nothing here would work: another buffer than this package's, allocations that fail on purpose,
 * switches that let operators fail.
 */
const LEFT_OUT = new Set([
  "setInteropThreads",
  "setSwitch",
  "setCallbacks",
  "buffer",
  "allocatorInstall",
  "allocatorFail",
]);
const names = Object.keys(native).filter((name) => !LEFT_OUT.has(name));
/** Operators that check their arguments: libtorch's own faults are another matter. */
const operators = [
  ["add", "Tensor"],
  ["cat", ""],
  ["view", ""],
  ["sum", "dim_IntList"],
  ["unbind", "int"],
  ["empty", "memory_format"],
  ["_foreach_add", "Scalar"],
  ["clone", ""],
  ["to", "dtype"],
  ["split", "Tensor"],
].map(([name = "", overload = ""]) => native.compileOp(`aten::${name}`, overload));

const handle = (): number => {
  argBuffer.set([3, 1, 2]);
  return native.fromBytes(new Float32Array([1, 2]), 6, 1);
};
const numbers = (): number =>
  pick([
    0,
    1,
    2,
    3,
    5,
    6,
    7,
    255,
    256,
    257,
    -1,
    -0,
    0.5,
    NaN,
    Infinity,
    -Infinity,
    2 ** 24,
    2 ** 24 + 1,
    2 ** 31,
    2 ** 32 + 1,
    2 ** 40,
    2 ** 52,
    2 ** 53,
    1e300,
    ...operators,
    handle(),
    handle(),
  ]);
const values = (): unknown =>
  pick<() => unknown>([
    numbers,
    numbers,
    numbers,
    () => undefined,
    () => null,
    () => true,
    () => false,
    () => "x",
    () => "aten::add",
    () => "",
    () => "mm\tlower\tlower",
    () => 5n,
    () => ({}),
    () => [1, 2],
    () => Symbol("s"),
    () => () => undefined,
    () => () => {
      throw new Error("mine");
    },
    () => new Float32Array(2),
    () => new Uint8Array(8),
    () => new ArrayBuffer(8),
    () => new DataView(new ArrayBuffer(8)),
    () => new SharedArrayBuffer(8),
    () => new Uint8Array(new SharedArrayBuffer(8)),
    () => new Date(0),
    () => new Proxy({}, {}),
    () => torch.ones([2]),
    () => Object.freeze({}),
  ])();

let returned = 0;
let failed = 0;
let uncoded = 0;
for (let i = 0; i < calls; i++) {
  const name = pick(names);
  const args = Array.from({ length: random(5) }, values);
  const message = Array.from({ length: 12 }, numbers);
  if (name === "call") message[1] = pick(operators);
  if (random(3) > 0) message[0] = 1 + random(14);
  argBuffer.set(message);
  try {
    Reflect.apply(native[name as keyof typeof native] as (...args: unknown[]) => unknown, undefined, args);
    returned++;
  } catch (error) {
    failed++;
    const mine = error instanceof Error && error.message === "mine";
    if (!mine && !(error instanceof torch.NbitError)) {
      uncoded++;
      writeSync(2, `${name}: ${String(error)}\n`);
    }
  }
}
writeSync(1, `calls ${calls}, values ${returned}, errors ${failed}, uncoded ${uncoded}\n`);
process.exit(0);
