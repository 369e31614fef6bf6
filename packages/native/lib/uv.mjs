/**
 * Fetches wheels with uv, where there is no pip. uv has no `download`: it resolves with hashes first, and then unpacks
 * what it has fetched and compared into a folder.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FULL, SetupError, diskFull, unwritable } from "./errors.mjs";
import { WHEEL_PYTHON } from "./markers.mjs";
import { interrupted } from "./pip.mjs";
import { run } from "./run.mjs";
import { corrupt } from "./unpack.mjs";

/** Options of pip's that uv knows; the others say which Python and platform, as `platform` below does. */
const KNOWN = /^--(no-deps|index-url=.*|extra-index-url=.*)$/;

/** @returns {Promise<Record<string, string>>} None by a wheel's name: uv has compared them. */
export async function runUv(call) {
  const { fetcher, what, incoming } = call;
  const wanted = join(incoming, "tmp", "wanted.txt");
  const locked = join(incoming, "tmp", "locked.txt");
  writeFileSync(wanted, `${what.filter((each) => !each.startsWith("-")).join("\n")}\n`);
  const options = [...what.filter((each) => KNOWN.test(each)), "--only-binary=:all:", ...platform()];
  const uv = async (...args) => {
    const result = await run(fetcher.program, ["pip", ...args], {
      // Beside what it fills: links instead of copies, and the progress line sees it grow.
      env: { ...process.env, UV_CACHE_DIR: join(incoming, "tmp", "cache"), UV_NO_PROGRESS: "1" },
    });
    if (result.status !== 0) throw explain(result, call);
  };
  await uv("compile", wanted, "--generate-hashes", "--no-header", "--output-file", locked, ...options);
  await uv(
    "install",
    ...["--requirement", locked, "--require-hashes", "--no-deps", "--target", join(incoming, "tree")],
    ...options.filter((each) => each !== "--no-deps"),
  );
  return { locked: readFileSync(locked, "utf8") };
}

function platform() {
  const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
  return [`--python-version=${WHEEL_PYTHON}`, `--python-platform=${machine}-manylinux_2_28`];
}

function explain(result, { fetcher, folder, spec, offer }) {
  const details = result.output.trim().slice(-800);
  if (result.signal !== null) return interrupted(`uv was ended by ${result.signal}`);
  if (FULL.test(result.output)) return diskFull(folder, null);
  if (/Permission denied|Read-only file system/.test(result.output)) return unwritable(folder, null, details);
  if (/hash mismatch/i.test(result.output)) return corrupt(folder, details);
  if (/No solution found|not found in the package registry|no version of/i.test(result.output))
    return new SetupError(offer.code, {
      problem: `uv's indexes have no wheel for ${spec} (${process.platform}-${process.arch}).`,
      details,
      fix: offer.fix(undefined),
    });
  if (/error sending request|dns error|tcp connect|timed out|Failed to fetch|Network connectivity/i.test(result.output))
    return new SetupError("NBIT_NO_NETWORK", {
      problem: `uv could not reach its indexes to fetch ${spec}, or the connection broke; the next run fetches it from its beginning.`,
      details,
      fix: `uv pip compile - <<< "${spec}"   # repair the network, proxy or index settings until this works${offer.otherwise}`,
    });
  return new SetupError("NBIT_PIP_FAILED", {
    problem: `uv ${fetcher.version} could not fetch ${spec}.`,
    details,
    fix: `uv pip install --no-deps --target "$(mktemp -d)" ${spec}   # shows the whole story`,
  });
}
