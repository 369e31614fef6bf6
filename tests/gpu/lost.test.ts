/**
 * A GPU whose kernel stopped, or whose memory is full: errors with a code that name the operator, and a process that
 * lives on.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { cuda, OutOfMemoryError, zeros } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { options } from "./support.js";

const folder = temporaryFolder("lost");
const program = fileURLToPath(new URL("lost/program.js", import.meta.url));

interface Seen {
  readonly error: { readonly name: string; readonly code: string; readonly message: string };
  readonly again: { readonly code: string };
  readonly saved: unknown;
  readonly savedFromDevice: { readonly code: string };
  readonly computes: unknown;
}
for (const [what, named] of [
  ["embedding", "embedding"],
  ["labels", "cross_entropy_loss"],
  ["labels of 16-bit logits", "cross_entropy"],
] as const)
  for (const blocking of [false, true])
    test(
      `an index out of range on the GPU names the operator, and the host's tensors can be saved: ${what}${blocking ? ", launches blocking" : ""}`,
      options,
      () => {
        const { status, signal, stdout, stderr } = spawnSync(process.execPath, [program, what, folder], {
          encoding: "utf8",
          env: { ...process.env, ...(blocking ? { CUDA_LAUNCH_BLOCKING: "1" } : {}) },
        });
        assert.deepEqual([status, signal], [0, null], stderr.slice(-2000));
        const seen = JSON.parse(stdout) as Seen;
        assert.deepEqual(
          [seen.error.name, seen.error.code],
          ["DeviceLostError", "CUDA_DEVICE_ASSERT"],
          JSON.stringify(seen),
        );
        assert.match(seen.error.message, new RegExp(`Received: one that does not, in (one of )?${named}`));
        assert.equal(seen.again.code, "CUDA_DEVICE_ASSERT");
        assert.deepEqual(seen.saved, [1, 1, 1]);
        assert.match(seen.savedFromDevice.code, /^CUDA_DEVICE_/);
        assert.deepEqual(seen.computes, [2, 2, 2]);
      },
    );

test(
  "memory of the GPU that does not suffice is an error that names the operator, and nothing is lost",
  options,
  () => {
    const kept = zeros([4], { device: "cuda" });
    const { total } = cuda.memoryStats();
    assert.throws(
      () => zeros([total], { device: "cuda" }),
      (error) =>
        error instanceof OutOfMemoryError &&
        error.code === "TORCH_OUT_OF_MEMORY" &&
        /^zeros: /.test(error.message) &&
        /taken from the driver/.test(error.message),
    );
    assert.deepEqual(kept.add(1).tolist(), [1, 1, 1, 1]);
  },
);
