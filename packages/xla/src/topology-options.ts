import { isLibtpu } from "../lib/environment.mjs";
import type { NativeValue } from "./native.js";

/** Options that a topology needs and that follow from its name. */
export function topologyOptions(path: string, name: string): Readonly<Record<string, NativeValue>> {
  const sizes = /:(\d+(?:x\d+)*)$/.exec(name)?.[1]?.split("x").map(Number) ?? [];
  const [x = 2, y = 2] = sizes;
  // Hosts have 2 × 2 chips unless it is said that they have fewer.
  return isLibtpu(path) && (x === 1 || y === 1) ? { chips_per_host_bounds: [Math.min(x, 2), Math.min(y, 2), 1] } : {};
}
