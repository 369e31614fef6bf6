import type { NativeDevice, NativePairs, NativeValue } from "./native.js";

/** A chip, or a core of one, as its plugin describes it. */
export interface XlaDevice {
  /** The platform's own number, over all processes. */
  readonly id: number;
  readonly process: number;
  /** `TPU v5 lite`, `cpu` and so on. */
  readonly kind: string;
  readonly description: string;
  /** Coordinates, cores and whatever else a plugin tells. */
  readonly attributes: ReadonlyMap<string, NativeValue>;
}

export function devicesOf(list: readonly NativeDevice[]): readonly XlaDevice[] {
  return Object.freeze(
    list.map(({ id, process, kind, text, attributes }) =>
      Object.freeze({ id, process, kind, description: text, attributes: new Map(attributes) }),
    ),
  );
}

/** Named options of a plugin's, as the addon takes them. */
export const pairsOf = (options: Readonly<Record<string, NativeValue>>): NativePairs => Object.entries(options);

/** Whether a value may be an option of a plugin's: text, a number, a flag, or whole numbers. */
export function isOption(value: unknown): value is NativeValue {
  return (
    typeof value === "string" ||
    typeof value === "boolean" ||
    (typeof value === "number" && Number.isFinite(value)) ||
    (Array.isArray(value) && value.every((each) => Number.isSafeInteger(each)))
  );
}
