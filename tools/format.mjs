/**
 * Formats TypeScript with Prettier, and C++ and GPU kernels with clang-format: 120 columns.
 *
 *   npm run format               writes
 *   npm run format -- --check    lists files that differ, and fails if there are any
 *
 * clang-format comes from pip, once, into nbit's cache: its versions format differently, so this one counts.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder } from "../packages/native/lib/places.mjs";
import { root } from "./workspace.mjs";

const CLANG_FORMAT = "23.1.1";
const check = process.argv.includes("--check");

/** Tracked files and new ones, without what generators write. */
function sources(...patterns) {
  const { stdout } = spawnSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", ...patterns], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 2 ** 26,
  });
  return stdout
    .split("\n")
    .filter((file) => file !== "" && !file.includes("/generated/") && existsSync(join(root, file)));
}

function clangFormat() {
  const folder = join(cacheFolder(), `clang-format-${CLANG_FORMAT}`);
  const program = join(folder, "clang_format", "data", "bin", "clang-format"); // bin/ has a script that wants PYTHONPATH
  if (existsSync(program)) return program;
  const partial = `${folder}.${process.pid}`;
  mkdirSync(partial, { recursive: true });
  const wanted = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", partial, `clang-format==${CLANG_FORMAT}`];
  const { status } = spawnSync("python3", wanted, { stdio: ["ignore", "ignore", "inherit"] });
  if (status !== 0) throw new Error(`format: clang-format ${CLANG_FORMAT} could not be installed from pip.`);
  if (!existsSync(program)) renameSync(partial, folder);
  return program;
}

function run(program, args) {
  return spawnSync(program, args, { cwd: root, stdio: "inherit" }).status === 0;
}

const prettier = join(root, "node_modules", "prettier", "bin", "prettier.cjs");
const scripts = sources("*.ts", "*.mts", "*.mjs");
const native = sources("*.cc", "*.h", "*.inc", "*.cu", "*.cuh");
const formatted = [
  run(process.execPath, [prettier, "--log-level=warn", check ? "--check" : "--write", ...scripts]),
  run(clangFormat(), check ? ["--dry-run", "--Werror", ...native] : ["-i", ...native]),
];
process.exitCode = formatted.every(Boolean) ? 0 : 1;
