/** How tensors are printed: the same options and profiles as PyTorch's. */
import { flag, oneOf, orNull, real, whole } from "../kinds.js";
import { atMost, checkOptions, type OptionNames } from "../options.js";

export interface PrintOptions {
  /** Digits after the decimal point. Default 4. */
  readonly precision: number;
  /** Tensors with more elements than this are summarized. Default 1000; `Infinity`: never. */
  readonly threshold: number;
  /** Elements shown at each end of a summarized dimension. Default 3. */
  readonly edgeitems: number;
  /** Characters per line at which rows break. Default 80. */
  readonly linewidth: number;
  /** Scientific notation: always, never, or where the values call for it (null, the default). */
  readonly sciMode: boolean | null;
}

/** `default`, `short` (2 digits, 2 edge items) or `full` (never summarized). */
export type PrintProfile = "default" | "short" | "full";

const PROFILES: Readonly<Record<PrintProfile, Omit<PrintOptions, "sciMode">>> = Object.freeze({
  default: { precision: 4, threshold: 1000, edgeitems: 3, linewidth: 80 },
  short: { precision: 2, threshold: 1000, edgeitems: 2, linewidth: 80 },
  full: { precision: 4, threshold: Infinity, edgeitems: 3, linewidth: 80 },
});

const NAMES: OptionNames<Partial<PrintOptions> & { readonly profile?: PrintProfile }> = {
  profile: oneOf("default", "short", "full"),
  precision: whole("[0, 100]"),
  threshold: real("[0, ∞]"),
  edgeitems: whole("[0, ∞)"),
  linewidth: real("[0, ∞]"),
  sciMode: orNull(flag),
};
let current: PrintOptions = Object.freeze({ ...PROFILES.default, sciMode: null });

export function getPrintOptions(): PrintOptions {
  atMost("getPrintOptions", arguments, 0);
  return current;
}

/**
 * Change how tensors are printed from now on. What is not named stays, except `sciMode`, which returns to automatic
 * unless named (as in PyTorch).
 *
 * @param options.profile - Start from `"default"`, `"short"` or `"full"` before the other options apply.
 * @throws {ArgumentError} `setPrintOptions: expected precision to be a whole number from 0 to 100. Received: -1.`
 * @example setPrintOptions({ precision: 2 }); String(tensor([1.12345])); // "tensor([1.12])"
 */
export function setPrintOptions(options: Partial<PrintOptions> & { readonly profile?: PrintProfile }): void {
  atMost("setPrintOptions", arguments, 1);
  current = Object.freeze(resolve("setPrintOptions", current, options));
}

/** @internal Check options and lay them over a base. */
export function resolve(
  fn: string,
  base: PrintOptions,
  options: Partial<PrintOptions> & { readonly profile?: PrintProfile },
): PrintOptions {
  checkOptions(fn, options, NAMES);
  const from = options.profile === undefined ? base : PROFILES[options.profile];
  return {
    precision: options.precision ?? from.precision,
    threshold: options.threshold ?? from.threshold,
    edgeitems: options.edgeitems ?? from.edgeitems,
    linewidth: options.linewidth ?? from.linewidth,
    sciMode: options.sciMode ?? null,
  };
}
