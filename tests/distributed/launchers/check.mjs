/** What the tests of launchers have in common: programs that are installed, calls, and what ranks must have printed. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

export const place = fileURLToPath(new URL("place.mjs", import.meta.url));
export const train = fileURLToPath(new URL("train.mjs", import.meta.url));
const nbit = fileURLToPath(new URL("../../../packages/cli/bin/nbit.mjs", import.meta.url));

/** Whether a program is in a folder of PATH. */
export const has = (program) => spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;

/** Installs packages of Debian or Ubuntu, unless their programs are there. */
export function install(programs, packages) {
  const missing = programs.filter((program) => !has(program));
  if (missing.length === 0) return;
  console.log(`installing ${packages.join(" ")}`);
  const options = {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  };
  for (const args of [["update"], ["install", "-y", "--no-install-recommends", ...packages]])
    if (spawnSync("apt-get", args, options).status !== 0)
      throw new Error(`${missing.join(", ")} are not installed, and apt-get ${args.join(" ")} failed: it needs root`);
}

/** Runs a command; gives what it wrote, and fails with it when it fails. */
export function call(command, env = {}, seconds = 60) {
  return new Promise((resolve, reject) => {
    const [program, ...args] = command;
    const child = spawn(program, args, {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: seconds * 1000,
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (code === 0) resolve(stdout);
      else reject(new Error(`${command.join(" ")} ended with ${signal ?? code}:\n${stdout}${stderr}`));
    });
  });
}

/** What ranks have printed, in their order; a launcher's own lines are passed over. */
export function ranksOf(text) {
  return text
    .split("\n")
    .filter((line) => line.includes('{"place":'))
    .map((line) => JSON.parse(line.slice(line.indexOf("{"))))
    .sort((a, b) => (a.place?.rank ?? 0) - (b.place?.rank ?? 0));
}

/**
 * Two ranks of a launcher have trained: as many steps as there are, to the same weights on both, which are those of two
 * ranks of `nbit run`.
 */
export async function checkTraining(what, text) {
  const ranks = ranksOf(text);
  const expected = ranksOf(await call([process.execPath, nbit, "run", "-n", "2", train]));
  assert.equal(expected.length, 2, what);
  assert.deepEqual(
    ranks.map(({ place: { rank, worldSize }, steps, weights }) => ({ rank, worldSize, steps, weights })),
    [0, 1].map((rank) => ({ rank, worldSize: 2, steps: 8, weights: expected[0].weights })),
    `${what}: ${text}`,
  );
  console.log(`ok  ${what}`);
}

/** Checks two ranks: what each says of itself, and what both must say alike. */
export function checkTwo(what, text, each, all, sum) {
  const ranks = ranksOf(text);
  assert.equal(ranks.length, 2, `${what}: ${text}`);
  for (const [i, rank] of ranks.entries()) {
    const { masterPort, runId: _, ...place } = rank.place; // a launch has an id of its own
    assert.deepEqual(place, { rank: i, worldSize: 2, storeFd: null, restartCount: 0, ...all, ...each[i] }, what);
    assert.ok(masterPort > 1023 && masterPort === ranks[0].place.masterPort, what);
    assert.equal(rank.sum, sum, what);
  }
  console.log(`ok  ${what}`);
}
