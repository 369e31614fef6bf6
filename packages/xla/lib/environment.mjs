/** What single plugins need in the environment before they are loaded. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { basename } from "node:path";
import { cpuPluginPath } from "./places.mjs";

export const isLibtpu = (path) => /^libtpu.*\.so/.test(basename(path));

/** Whether this machine has TPUs, or is a cloud machine that may: there libtpu finds out by itself. */
export function mayHaveTpu() {
  const listed = (folder, pattern) => {
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
export function environmentFor(path) {
  // XLA's own messages about code that it loads, and TensorFlow's about a library of which XLA has no need; failures come
  // as errors.
  if (path === cpuPluginPath())
    return [
      ["TF_CPP_MIN_LOG_LEVEL", "3"],
      ["TF_ENABLE_ONEDNN_OPTS", "0"],
    ];
  if (!isLibtpu(path) || mayHaveTpu()) return [];
  // Else it asks the cloud's metadata server, thirty times for each of several keys.
  return [
    ["TPU_SKIP_MDS_QUERY", "1"],
    ["TPU_WORKER_HOSTNAMES", "localhost"],
    ["TPU_ACCELERATOR_TYPE", "v5litepod-4"],
    ["ALLOW_MULTIPLE_LIBTPU_LOAD", "1"], // without a chip there is nothing that processes could share
    ["TPU_MIN_LOG_LEVEL", "3"],
    ["TPU_STDERR_LOG_LEVEL", "3"],
  ];
}
