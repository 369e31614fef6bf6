/**
 * The tests with an addon that AddressSanitizer and UndefinedBehaviorSanitizer watch: reads and writes past the end, of
 * freed memory, overflows, bad shifts and casts end the process with a report.
 *
 *   npm run test:sanitize                  all tests, then 100,000 random calls
 *   npm run test:sanitize -- torch amp     the test files whose path contains both words
 *   npm run test:sanitize -- --calls 5000 --only-calls
 *
 * libtorch itself is not instrumented; the sanitizers still see what it does through the C library's functions. In the
 * random calls tensors come from the system's allocator, so that each has its own bounds; the tests have nbit's own,
 * which some of them measure. Suppressions, each with its reason, are in tools/sanitizers/. The ordinary addon is
 * installed again at the end; after an interruption the next set-up does it.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { installedAddon } from "../packages/native/lib/places.mjs";
import { root } from "./workspace.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    calls: { type: "string", default: "100000" },
    "only-calls": { type: "boolean", default: false },
    seed: { type: "string", default: "1" },
  },
});
const calls = Number(values.calls);
if (!Number.isInteger(calls) || calls < 0)
  throw new Error(`test:sanitize: expected --calls to be a whole number. Received: ${values.calls}`);

const logs = join(root, "build", "sanitize");
rmSync(logs, { recursive: true, force: true });
mkdirSync(logs, { recursive: true });

function libraryOf(name) {
  const { stdout } = spawnSync(process.env["CXX"] ?? "g++", [`-print-file-name=${name}`], { encoding: "utf8" });
  const path = stdout.trim();
  if (!existsSync(path))
    throw new Error(
      `test:sanitize: expected ${name} beside the compiler. Install libasan and libubsan of its version.`,
    );
  return path;
}
const suppressions = (name) => `suppressions=${join(root, "tools", "sanitizers", name)}`;
const watched = {
  ...process.env,
  CXXFLAGS:
    "-O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined",
  LDFLAGS: "-fsanitize=address,undefined",
  LD_PRELOAD: `${libraryOf("libasan.so")} ${libraryOf("libubsan.so")}`,
  // Leaks: V8 and libtorch keep what they need until the process ends. Definitions twice: libtorch's own libraries
  // share some.
  ASAN_OPTIONS: `detect_leaks=0:detect_odr_violation=0:abort_on_error=1:allocator_may_return_null=1:max_allocation_size_mb=4000:hard_rss_limit_mb=6000:log_path=${join(logs, "asan")}:${suppressions("asan.txt")}`,
  UBSAN_OPTIONS: `print_stacktrace=1:halt_on_error=1:log_path=${join(logs, "ubsan")}:${suppressions("ubsan.txt")}`,
  NBIT_CPU_ALLOCATOR: "system",
  NBIT_SANITIZED: "1",
};
const run = (args, env) => spawnSync(process.execPath, args, { cwd: root, stdio: "inherit", env }).status ?? 1;

let failed = 0;
try {
  if (run([join("tools", "setup.mjs")], watched) !== 0)
    throw new Error("test:sanitize: the watched addon could not be built.");
  // Silence proves something only of an addon that is watched.
  const addon = readFileSync(installedAddon);
  if (!["__asan_report_load8", "__ubsan_handle_"].every((name) => addon.includes(name)))
    throw new Error(
      "test:sanitize: expected an addon that both sanitizers watch. CXX must be a compiler that takes -fsanitize=address,undefined.",
    );
  // Tests of memory measure nbit's own allocator.
  if (!values["only-calls"])
    failed += run([join("tools", "test.mjs"), ...positionals], { ...watched, NBIT_CPU_ALLOCATOR: "" }) === 0 ? 0 : 1;
  if (calls > 0 && positionals.length === 0)
    failed +=
      run([join("tests", "dist", "fuzz", "main.js"), "--calls", String(calls), "--seed", values.seed], watched) === 0
        ? 0
        : 1;
} finally {
  run([join("tools", "setup.mjs")], process.env);
}
// Tests and random calls ask for too much on purpose; what becomes of that is theirs to check. Anything else that the
// sanitizers write is a report: their own limits of memory too.
const failedAllocation = /^==\d+==WARNING: AddressSanitizer failed to allocate 0x[0-9a-f]+ bytes$/;
const written = readdirSync(logs).map((name) => readFileSync(join(logs, name), "utf8"));
const reports = written.filter((text) =>
  text.split("\n").some((line) => line.trim() !== "" && !failedAllocation.test(line)),
);
for (const text of reports) console.log(text.slice(0, 6000));
console.log(`test:sanitize: ${reports.length} reports of the sanitizers in build/sanitize`);
process.exitCode = failed === 0 && reports.length === 0 ? 0 : 1;
