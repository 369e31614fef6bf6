import { atMost } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import type { Accelerator } from "./accelerator.js";
import { CPUAccelerator } from "./cpu.js";
import { CUDAAccelerator } from "./cuda.js";
import { TPUAccelerator } from "./tpu.js";
import { XLAAccelerator } from "./xla.js";

const registry = new Map<string, () => Accelerator>([
  ["cpu", () => new CPUAccelerator()],
  ["cuda", () => new CUDAAccelerator()],
  ["gpu", () => new CUDAAccelerator()],
  ["tpu", () => new TPUAccelerator()],
  ["xla", () => new XLAAccelerator()],
]);

/** Make `new Trainer({ accelerator: name })` mean `create()`. A name that exists is replaced. */
export function registerAccelerator(name: string, create: () => Accelerator): void {
  atMost("registerAccelerator", arguments, 2);
  registry.set(name, create);
}

/** The accelerator of a name, an instance as it is, or "auto": CUDA when there is a device, else the CPU. */
export function resolveAccelerator(asked: string | Accelerator): Accelerator {
  if (typeof asked !== "string") return asked;
  if (asked === "auto") {
    const cuda = new CUDAAccelerator();
    return cuda.missing() === null ? cuda : new CPUAccelerator();
  }
  const create = registry.get(asked);
  if (create === undefined) {
    const names = ["auto", ...registry.keys()].map((n) => JSON.stringify(n)).join(", ");
    throw new MisconfigurationError(
      "Trainer",
      `accelerator to be one of ${names}, or an Accelerator`,
      asked,
      "Add others with registerAccelerator(name, create).",
      "ERR_ACCELERATOR_UNKNOWN",
    );
  }
  return create();
}

/**
 * A count, a list, or "auto", from a string such as a command line gives: "2" is a count, "0," and "0,1" are indices,
 * "-1" is all; Lightning's rules.
 */
function fromText(asked: string): "auto" | number | readonly number[] | null {
  const text = asked.trim();
  if (text === "auto") return "auto";
  if (/^-?\d+$/.test(text)) return Number(text);
  return /^\d+(,\d+)*,?$/.test(text)
    ? text
        .split(",")
        .filter((part) => part !== "")
        .map(Number)
    : null;
}

/**
 * Which devices to use: "auto" or -1 for what makes sense here, a count, a list of indices, or one of these as a
 * string. Returns indices.
 */
export function resolveDevices(
  given: string | number | readonly number[],
  accelerator: Accelerator,
): readonly number[] {
  const asked = typeof given === "string" ? fromText(given) : given;
  const count = accelerator.deviceCount();
  const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
  let indices: readonly number[];
  if (asked === "auto") indices = [0];
  else if (asked === -1) indices = range(count);
  else if (typeof asked === "number" && Number.isInteger(asked) && asked >= 1) indices = range(asked);
  else if (Array.isArray(asked) && asked.length > 0 && asked.every((i) => Number.isInteger(i) && i >= 0))
    indices = asked as readonly number[];
  else {
    const fix =
      given === "0" || given === 0
        ? '0 is a count, of no device; the first device is devices: [0] or "0,".'
        : undefined;
    throw new MisconfigurationError(
      "Trainer",
      'devices to be "auto", -1, a count ≥ 1 or a list of indices',
      given,
      fix,
      "ERR_DEVICES",
    );
  }
  if (new Set(indices).size < indices.length)
    throw new MisconfigurationError(
      "Trainer",
      "devices to be named once each",
      given,
      "Two processes on one device would wait for each other.",
      "ERR_DEVICES",
    );
  if (accelerator.isShared === true && !Array.isArray(asked)) return indices;
  for (const index of indices) {
    if (index >= count) {
      throw new MisconfigurationError(
        "Trainer",
        `devices within the ${count} of accelerator ${JSON.stringify(accelerator.name)}`,
        asked,
        undefined,
        "ERR_DEVICES",
      );
    }
  }
  return indices;
}
