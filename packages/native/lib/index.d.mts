import type { NativeAddon } from "../generated/addon.d.mts";
export const native: NativeAddon;
/**
 * The addon for one copy of `@nbit/torch`: its buffer, handles and callbacks are nobody else's. The first that asks
 * gets `native`.
 */
export function connect(): NativeAddon;
/** The libtorch that the addon was built for. */
export const libtorch: Libtorch;
export type { NativeAddon } from "../generated/addon.d.mts";
export type { NativeInfo } from "./native-info.d.mts";

export interface Libtorch {
  /** Folder that holds `lib/` and `include/`. */
  readonly path: string;
  /** Release, e.g. "2.13.0". */
  readonly version: string;
  /** "cpu", "cu130", … */
  readonly variant: string;
  readonly cuda: boolean;
  /** Commit that it was built from, or "". */
  readonly git: string;
  /** Where set-up found it: "LIBTORCH", "python3", "cache" or "fetched". */
  readonly origin: string;
}
