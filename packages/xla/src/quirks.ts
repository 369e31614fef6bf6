/** What single plugins need beside the API. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { basename } from "node:path";
import { cpuPluginPath } from "../lib/places.mjs";
import type { NativeValue } from "./native.js";

const isLibtpu = (path: string): boolean => /^libtpu.*\.so/.test(basename(path));

/** Whether this machine has TPUs, or is a cloud machine that may: there libtpu finds out by itself. */
export function mayHaveTpu(): boolean {
  const listed = (folder: string, pattern: RegExp): boolean => {
    try {
      return readdirSync(folder).some((name) => pattern.test(name));
    } catch {
      return false;
    }
  };
  if (listed("/dev", /^accel\d+$/) || listed("/dev/vfio", /^\d+$/)) return true;
  const product = "/sys/class/dmi/id/product_name";
  return existsSync(product) && readFileSync(product, "utf8").includes("Google Compute Engine");
}

/** Variables to be set before a plugin is loaded, unless they are. */
export function environmentFor(path: string): readonly (readonly [string, string])[] {
  // XLA's own messages about code that it loads; failures come as errors.
  if (path === cpuPluginPath()) return [["TF_CPP_MIN_LOG_LEVEL", "3"]];
  if (!isLibtpu(path) || mayHaveTpu()) return [];
  // Else it asks the cloud's metadata server, thirty times for each of several keys.
  return [
    ["TPU_SKIP_MDS_QUERY", "1"],
    ["TPU_WORKER_HOSTNAMES", "localhost"],
    ["TPU_ACCELERATOR_TYPE", "v5litepod-4"],
    ["TPU_MIN_LOG_LEVEL", "3"],
    ["TPU_STDERR_LOG_LEVEL", "3"],
  ];
}

/** Options that a topology needs and that follow from its name. */
export function topologyOptions(path: string, name: string): Readonly<Record<string, NativeValue>> {
  const sizes = /:(\d+(?:x\d+)*)$/.exec(name)?.[1]?.split("x").map(Number) ?? [];
  // Hosts have 2 × 2 chips unless it is said that they have fewer.
  const single = sizes.length > 0 && sizes.every((size) => size === 1);
  return isLibtpu(path) && single ? { chips_per_host_bounds: [1, 1, 1] } : {};
}
