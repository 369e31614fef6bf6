import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { arange, loadCheckpoint, packState, type Tensor, writeManifest, writeShard } from "@nbit/torch";

const bin = fileURLToPath(new URL("../bin/nbit.mjs", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "nbit-consolidate-"));
after(() => rmSync(folder, { recursive: true }));

function nbit(
  ...args: string[]
): Promise<{ readonly status: number; readonly stdout: string; readonly stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [bin, ...args], (error, stdout, stderr) => {
      resolve({ status: typeof error?.code === "number" ? error.code : error === null ? 0 : -1, stdout, stderr });
    });
  });
}

test("a folder becomes a file; what stands in the way is told", async () => {
  const path = join(folder, "last.ckpt");
  const x = arange(10);
  const shards = [0, 1].map((rank) =>
    writeShard(path, "0123456789abcdef", rank, [
      { name: "x", start: rank * 5, end: rank * 5 + 5, data: x.narrow(0, rank * 5, 5) },
    ]),
  );
  const incomplete = await nbit("consolidate", path);
  assert.equal(incomplete.status, 1);
  assert.match(incomplete.stderr, /^CHECKPOINT_INCOMPLETE: .*expected manifest\.json/);
  writeManifest(path, shards, { tensors: { x: { dtype: x.dtype, shape: [10] } }, json: packState({ x }).json });
  const out = join(folder, "last.consolidated.ckpt");
  assert.deepEqual(await nbit("consolidate", path), { status: 0, stdout: `${out}\n`, stderr: "" });
  assert.deepEqual((loadCheckpoint(out) as { x: Tensor }).x.tolist(), x.tolist());
  const there = await nbit("consolidate", path);
  assert.equal(there.status, 1);
  assert.match(
    there.stderr,
    /^ERR_ARGUMENT: nbit consolidate: expected out to be the path of a new file\. Received: .*--overwrite/,
  );
  assert.equal((await nbit("consolidate", path, out, "--overwrite")).status, 0);
});

test("help, and wrong calls", async () => {
  const { status, stdout } = await nbit("consolidate", "--help");
  assert.equal(status, 0);
  assert.match(stdout, /^Usage: nbit consolidate FOLDER \[OUT\]/);
  for (const [args, message] of [
    [[], /^ERR_ARGUMENT: nbit consolidate: expected a folder, and a file to write\. Received: neither\./],
    [
      ["a", "b", "c"],
      /^ERR_ARGUMENTS: nbit consolidate: expected a folder, and a file to write\. Received: a and b and c\./,
    ],
    [["a", "--force"], /^ERR_FLAG: nbit consolidate: expected a flag that it knows\. Received: --force\./],
  ] as const) {
    const wrong = await nbit("consolidate", ...args);
    assert.equal(wrong.status, 2);
    assert.match(wrong.stderr, message);
  }
  const missing = await nbit("consolidate", join(folder, "none"));
  assert.equal(missing.status, 1);
  assert.match(missing.stderr, /^ENOENT: nbit consolidate: expected to read/);
});
