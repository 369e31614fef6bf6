import type { Accelerator, DeviceSupport } from "../accelerators/accelerator.js";
import { WarnOnce } from "../warnings.js";
import { entryNamed, spell } from "./catalogue.js";
import type { NativeArithmetic } from "./entry.js";
import type { PrecisionName } from "./names.js";

/** Where nothing in 16 bits is native, and where nothing was asked for. */
export const DEFAULT: PrecisionName = "32-true";

/** precision: "auto", best first: the first whose arithmetic the device has. */
const AUTO: readonly (readonly [PrecisionName, why: string])[] = [
  ["bf16-mixed", "computes bfloat16 natively, which needs no loss scaling"],
  ["16-mixed", "computes float16 natively but not bfloat16"],
];

interface Emulation {
  /** What is faster where the device has it, best first; else {@link DEFAULT}. */
  readonly instead: readonly PrecisionName[];
  readonly text: (accelerator: Accelerator, description: string) => string;
}

const sixteenBits = (dtype: string): Emulation => ({
  instead: ["bf16-mixed", "16-mixed"],
  text: ({ name }, description) =>
    name === "cpu"
      ? `${name} (${description}) computes ${dtype} in float32, which saves memory and not time`
      : `${name} (${description}) emulates ${dtype} arithmetic. It is correct but slow`,
});

/** Of accelerators by name; others compile them as products of bfloat16. */
const FLOAT8_PRODUCTS: Readonly<Record<string, string>> = {
  cpu: "float8 products run on the CPU for correctness",
  cuda: "float8 products, which need compute capability 8.9, are emulated in float32",
};

/** How arithmetic that a device lacks runs there, in words. */
const EMULATION: Readonly<Record<NativeArithmetic, Emulation>> = {
  float16: sixteenBits("float16"),
  bfloat16: sixteenBits("bfloat16"),
  float8: {
    instead: ["bf16-true", "16-mixed"],
    text: ({ name }, description) => {
      const how = FLOAT8_PRODUCTS[name] ?? "float8 products are multiplied in bfloat16";
      return `${how} (${description}). Their numbers are right, their speed is not`;
    },
  },
};

/** Whether a device computes natively what a precision needs. */
function isNative(name: PrecisionName, support: DeviceSupport): boolean {
  const needs = entryNamed(name)?.needs ?? null;
  return needs === null || support[needs];
}

/** What precision: "auto" is on a device, and why. */
export function chooseFor(
  accelerator: Accelerator,
  index: number,
): { readonly name: PrecisionName; readonly reason: string } {
  const support = accelerator.support(index);
  const [name, why] = AUTO.find(([each]) => isNative(each, support)) ?? [DEFAULT, "has no native 16-bit arithmetic"];
  return { name, reason: `auto: ${accelerator.name} ${why}` };
}

/** A process says it once, however many Trainers it makes. */
const emulation = new WarnOnce();

/** What is asked for is what runs; where the device has to emulate it, say so and name what is faster. */
export function warnIfEmulated(name: PrecisionName, accelerator: Accelerator, index: number): void {
  const support = accelerator.support(index);
  const needs = entryNamed(name)?.needs ?? null;
  if (needs === null || support[needs]) return;
  const { instead, text } = EMULATION[needs];
  const faster = entryNamed(instead.find((each) => isNative(each, support)) ?? DEFAULT);
  const advice = faster === null ? "" : `; precision: ${spell(faster)} is faster here`;
  emulation.warn(
    "WARN_PRECISION_EMULATED",
    `precision ${JSON.stringify(name)}: ${text(accelerator, support.description)}${advice}.`,
  );
}
