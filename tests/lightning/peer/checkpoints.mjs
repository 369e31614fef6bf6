// Lightning loads what is written in its format today, and goes on from it as it did when the fixtures were made.
// LIGHTNING_PYTHON: a Python with torch and lightning.
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeCheckpoints } from "../../dist/lightning/written-checkpoints.js";

const fixtures = join(import.meta.dirname, "../fixtures/lightning-written");
const folder = mkdtempSync(join(tmpdir(), "nbit-lightning-"));
// Lightning's callbacks overwrite those that the states name.
const read = mkdtempSync(join(tmpdir(), "nbit-lightning-"));

/** Paths differ, and the last digits of float32, whose kernels may be of another build. */
function differences(received, expected, path) {
  if (typeof expected === "string") return [];
  if (typeof expected === "number")
    return Math.abs(received - expected) <= 1e-5 * Math.max(1, Math.abs(expected))
      ? []
      : [`${path}: ${received}, not ${expected}`];
  if (typeof expected !== "object" || expected === null) return received === expected ? [] : [`${path}: ${received}`];
  const [got, wanted] = [Object.values(received ?? {}), Object.values(expected)];
  if (got.length !== wanted.length) return [`${path}: ${got.length} entries, not ${wanted.length}`];
  return wanted.flatMap((value, i) => differences(got[i], value, `${path}.${Object.keys(expected)[i]}`));
}

try {
  await writeCheckpoints(folder);
  cpSync(folder, read, { recursive: true });
  const { status, stderr } = spawnSync(process.env.LIGHTNING_PYTHON ?? "python3", [join(fixtures, "make.py")], {
    env: { ...process.env, NBIT_WRITTEN: read, NBIT_STATES: folder },
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(stderr);
  const foundIn = (at) => JSON.parse(readFileSync(join(at, "found.json"), "utf8"));
  const found = differences(foundIn(read), foundIn(fixtures), "found");
  for (const line of found) console.error(line);
  console.log(found.length === 0 ? "Lightning goes on from all of them" : `${found.length} differences`);
  process.exitCode = found.length === 0 ? 0 : 1;
} finally {
  for (const each of [folder, read]) rmSync(each, { recursive: true, force: true });
}
