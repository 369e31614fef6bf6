/** What can be asked of a low-bit optimizer, per parameter group. */
import { ArgumentError, checkOptions, type OptionNames, type optim } from "@nbit/torch";
import type { FamilyName } from "./families.js";
import type { StateFormat } from "./state-format.js";

/**
 * `rounding` of 16-bit parameters: state keeps its own format; "kahan" adds a compensation of two bytes per element.
 */
export interface LowBitOptions extends optim.RoundingOptions {
  readonly lr?: number;
  readonly betas?: readonly [number, number];
  /** AdEMAMix: of the slow average. Default 0.9999. */
  readonly beta3?: number;
  /** AdEMAMix: the slow average's weight. Default 5. */
  readonly alpha?: number;
  readonly eps?: number;
  readonly weightDecay?: number;
  readonly momentum?: number;
  readonly nesterov?: boolean;
  /** LARS: a layer's step in lengths of its weight. Default 0.001. */
  readonly trustCoefficient?: number;
  /** LAMB: the largest trust ratio; 0 for none. Default 0. */
  readonly maxUnorm?: number;
  /** Elements that share one scale. Default 256 (128 in 4 bits). */
  readonly blockSize?: number;
  /** Smaller tensors keep their state in float32. Default 4096. */
  readonly min8bitSize?: number;
  /**
   * A second moment that is not zero keeps a code that is not zero. Without it a small v rounds to 0 while its m does
   * not, and m / (√v + eps) is a step of lr / eps. Default true.
   */
  readonly keepPositive?: boolean;
  /**
   * Keep the state in pinned host memory and bring each parameter's to the device for its step, with copies that
   * overlap the steps of its neighbours. For state that does not fit beside the model; a step then takes at least as
   * long as the state's way over the bus and back. On CPU it changes nothing, and a warning says so once. Default
   * false.
   */
  readonly offload?: boolean;
  /** In a parameter group: 32 keeps the group's state in float32. Default: the class's bits. */
  readonly optimBits?: 8 | 32;
}
/** Options of every family; values are checked with their groups. */
const COMMON = {
  lr: true,
  weightDecay: true,
  blockSize: true,
  min8bitSize: true,
  keepPositive: true,
  offload: true,
  optimBits: true,
  rounding: true,
  roundingSeed: true,
} as const;
const MOMENTUM = { ...COMMON, momentum: true, nesterov: true } as const;
const MOMENTS = { ...COMMON, betas: true, eps: true } as const;
/** What each family's arithmetic reads besides: an option that it would not read is refused. */
const NAMES: Readonly<Record<FamilyName, Partial<OptionNames<LowBitOptions>>>> = {
  adam: MOMENTS,
  adamw: MOMENTS,
  momentum: MOMENTUM,
  lion: { ...COMMON, betas: true },
  rmsprop: MOMENTS,
  adagrad: { ...COMMON, eps: true },
  lamb: { ...MOMENTS, maxUnorm: true },
  lars: { ...MOMENTUM, trustCoefficient: true },
  ademamix: { ...MOMENTS, beta3: true, alpha: true },
};
/** @internal @throws {ArgumentError} for a name that is no option of the family. */
export function checkLowBitNames(fn: string, family: FamilyName, options: LowBitOptions): void {
  checkOptions<object>(fn, options, NAMES[family]);
}
/** @internal */
export type LowBitGroup = optim.ParamGroup & Required<LowBitOptions>;

const below1 = (b: unknown): boolean => typeof b === "number" && b >= 0 && b < 1;

const atLeast0 = (v: unknown): boolean => typeof v === "number" && v >= 0;
/** What options of a group have to be, in the order in which they are checked. */
const RULES: readonly {
  readonly names: readonly (keyof LowBitOptions)[];
  readonly expected: string;
  readonly holds: (value: unknown) => boolean;
  readonly fix?: string;
}[] = [
  {
    names: ["lr", "eps", "weightDecay", "momentum", "alpha", "trustCoefficient", "maxUnorm"],
    expected: "≥ 0",
    holds: (v) => atLeast0(v) && v !== Infinity,
  },
  {
    names: ["betas"],
    expected: "two numbers in [0, 1)",
    holds: (v) => Array.isArray(v) && v.length === 2 && v.every(below1),
  },
  { names: ["beta3"], expected: "in [0, 1)", holds: below1 },
  {
    names: ["blockSize"],
    expected: "a whole number from 1 to 4096",
    holds: (v) => Number.isInteger(v) && (v as number) >= 1 && (v as number) <= 4096,
  },
  { names: ["min8bitSize"], expected: "≥ 0", holds: atLeast0, fix: "Infinity keeps all state in float32." },
  {
    names: ["optimBits"],
    expected: "8 or 32",
    holds: (v) => v === 8 || v === 32,
    fix: "8 stands for the few bits of the class.",
  },
  { names: ["nesterov", "keepPositive", "offload"], expected: "true or false", holds: (v) => typeof v === "boolean" },
];

/** @internal Every option of a group. @throws {ArgumentError} naming the option, what it may be and what it was. */
export function checkLowBitOptions(fn: string, g: LowBitGroup, format: StateFormat | null): void {
  for (const { names, expected, holds, fix } of RULES)
    for (const name of names)
      if (!holds(g[name])) throw new ArgumentError(fn, `${name} to be ${expected}`, g[name], fix);
  if (format?.bits === 4 && g.blockSize % 2 !== 0)
    throw new ArgumentError(fn, "blockSize to be even in 4 bits", g.blockSize, "Two codes share a byte.");
  if (g.offload && g.params.every((p) => p.device.type === "cpu")) warnOffload(fn);
  for (const p of g.params)
    if (!["float32", "bfloat16", "float16"].includes(p.dtype))
      throw new ArgumentError(fn, "parameters in float32, bfloat16 or float16", p);
}

let warned = false;
function warnOffload(fn: string): void {
  if (warned) return;
  warned = true;
  process.emitWarning(
    `${fn}: offload changes nothing for parameters on the CPU: their state is in host memory already. If they move to a GPU before the first step, their state is offloaded there.`,
    { type: "NbitWarning", code: "WARN_OFFLOAD_CPU" },
  );
}
