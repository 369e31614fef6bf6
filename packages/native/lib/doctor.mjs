/**
 * The whole picture: what is installed, what set-up found, what the machine can do. Works, and explains itself, when
 * nothing is built.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readInstalled } from "./addon-build.mjs";
import { planAddon } from "./addon-plan.mjs";
import { findCompiler, findNodeHeaders, noCompiler } from "./compiler.mjs";
import { SetupError } from "./errors.mjs";
import { examineCpu, examineGpus } from "./hardware.mjs";
import { describeLibtorch, findLibtorch } from "./libtorch.mjs";
import { SETUP_COMMAND, cacheFolder, checkPlatform, installedAddon, packageFolder } from "./places.mjs";
import { precisionTable } from "./precision-table.mjs";
import { ask, inPath } from "./run.mjs";

/**
 * Looks at everything and changes nothing.
 *
 * @returns {Promise<import("./doctor.d.mts").DoctorReport>} Never rejects for a set-up that is missing or broken: that
 * is in `problems`.
 */
export async function examine() {
  const problems = [];
  const attempt = (work) => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof SetupError)) throw error;
      problems.push({ code: error.code, problem: error.problem, fix: error.fix });
      return null;
    }
  };
  attempt(checkPlatform);
  const search = attempt(findLibtorch);
  const libtorch = search?.libtorch ?? null;
  const compiler = attempt(findCompiler);
  const headers = attempt(findNodeHeaders);
  const installed = readInstalled();
  const addon = await examineAddon(libtorch, compiler, installed, attempt);
  if (libtorch === null && search !== null)
    problems.push({
      code: "NBIT_NO_LIBTORCH",
      problem: "no libtorch was found; set-up fetches one.",
      fix: SETUP_COMMAND,
    });
  if (compiler === null && addon.state !== "loads" && !problems.some((p) => /COMPILER/.test(p.code))) {
    const { code, problem, fix } = noCompiler();
    problems.push({ code, problem, fix });
  }
  if (addon.state !== "loads" && !problems.some((p) => p.code === addon.code))
    problems.push({ code: addon.code, problem: addon.problem, fix: addon.fix });
  if (addon.stale)
    problems.push({
      code: "NBIT_ADDON_OLD",
      problem: "the addon is older than its sources, or was built for another libtorch or compiler.",
      fix: SETUP_COMMAND,
    });
  const cpu = { ...examineCpu(), kernels: addon.info?.cpuCapability ?? null };
  const gpus = examineGpus();
  if (gpus.devices.length > 0 && libtorch !== null && !libtorch.cuda)
    problems.push({
      code: "NBIT_CPU_BUILD",
      problem: `there is a GPU, but ${describeLibtorch(libtorch)} is a build for CPUs.`,
      fix: "export LIBTORCH=/path/to/a/CUDA/build   # or NBIT_TORCH_SPEC; then set up again",
    });
  const gpu =
    addon.info?.cudaDevices > 0 || (addon.info === null && gpus.devices.length > 0) ? (gpus.devices[0] ?? null) : null;
  const python = inPath("python3");
  return {
    nbit: JSON.parse(readFileSync(join(packageFolder, "package.json"), "utf8")).version,
    node: { version: process.version, path: process.execPath, headers: headers?.path ?? null },
    platform: `${process.platform}-${process.arch}`,
    cache: cacheFolder(),
    python:
      python === null
        ? null
        : {
            path: python,
            version: ask(python, ["--version"]) ?? "does not run",
            pip: ask(python, ["-m", "pip", "--version"])?.split(" from ")[0] ?? null,
          },
    compiler,
    libtorch,
    looked: search?.looked ?? [],
    addon: { state: addon.state, path: installedAddon, detail: addon.detail, info: addon.info, threads: addon.threads },
    cpu,
    gpus,
    precisions: precisionTable(cpu, gpu),
    problems,
  };
}

async function examineAddon(libtorch, compiler, installed, attempt) {
  const nothing = { info: null, threads: null, stale: false };
  let loaded;
  try {
    loaded = await import("./index.mjs");
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    return {
      ...nothing,
      state: existsSync(installedAddon) ? "broken" : "missing",
      detail: error.problem,
      code: error.code,
      problem: error.problem,
      fix: error.fix,
    };
  }
  const plan = libtorch === null || compiler === null ? null : attempt(() => planAddon(libtorch, compiler));
  const { native } = loaded;
  const without = installed?.withoutCuda ? `; without CUDA: ${installed.withoutCuda}` : "";
  const stale = installed !== null && plan !== null && installed.key !== plan.key;
  return {
    state: "loads",
    stale,
    detail: `${stale ? "out of date" : ageOf(installed, plan)}${without}`,
    info: native.info(),
    threads: { intraOp: native.getThreads(), interOp: native.getInteropThreads() },
  };
}

function ageOf(installed, plan) {
  if (installed === null) return "not recorded by set-up, so its age is unknown";
  if (plan === null) return `built by ${installed.compiler}`;
  return "up to date";
}

/** The report as text for a terminal. */
export function renderReport(report) {
  const { node, python, compiler, libtorch, addon, cpu, gpus } = report;
  const out = [];
  const section = (title, rows) => {
    const width = Math.max(...rows.map(([label]) => label.length));
    out.push(title, ...rows.map(([label, text]) => `  ${label.padEnd(width)}  ${text}`), "");
  };
  section("Software", [
    ["nbit", report.nbit],
    ["Node.js", `${node.version.slice(1)} (${report.platform}, ${node.path})`],
    ["Node-API", node.headers ?? "headers not found"],
    [
      "python3",
      python === null
        ? "not in PATH (needed only to fetch libtorch)"
        : `${python.version.replace("Python ", "")} (${python.path}), ${python.pip ?? "no pip (needed only to fetch libtorch)"}`,
    ],
    ["compiler", compiler === null ? "none" : compiler.version],
    [
      "libtorch",
      libtorch === null
        ? "none"
        : `${libtorch.version} (${libtorch.variant}) from ${libtorch.origin}: ${libtorch.path}`,
    ],
    ["addon", `${addon.state}: ${addon.detail}`],
    ["cache", report.cache],
  ]);
  section(
    "Where libtorch was looked for",
    report.looked.length > 0
      ? report.looked.map(({ place, found }) => [place, found])
      : [["LIBTORCH", process.env["LIBTORCH"] ?? "not set"]],
  );
  section("Processor", [
    ["model", `${cpu.model}, ${cpu.available} of ${cpu.cores} cores, ${(cpu.memory / 2 ** 30).toFixed(0)} GiB`],
    ["instructions", cpu.features.length > 0 ? cpu.features.join(" ") : "unknown"],
    ["bfloat16", cpu.bfloat16 ?? "not native"],
    ["float16", cpu.float16 ?? "not native"],
    [
      "libtorch",
      addon.info === null
        ? "not loaded"
        : `${addon.info.cpuCapability} kernels, oneDNN ${addon.info.mkldnn ? "yes" : "no"}, MKL ${addon.info.mkl ? "yes" : "no"}`,
    ],
    [
      "threads",
      addon.threads === null
        ? "not loaded"
        : `${addon.threads.intraOp} in an operator, ${addon.threads.interOp} between operators; OMP_NUM_THREADS ${process.env["OMP_NUM_THREADS"] ?? "not set"}`,
    ],
  ]);
  section("GPU", [
    ["driver", gpus.driver ?? "none (NVIDIA)"],
    ...gpus.devices.map((d, i) => [
      `cuda:${i}`,
      `${d.name}, compute capability ${d.capability.toFixed(1)}, ${d.memory}`,
    ]),
    [
      "libtorch",
      addon.info === null
        ? "not loaded"
        : addon.info.cuda
          ? `sees ${addon.info.cudaDevices} device${addon.info.cudaDevices === 1 ? "" : "s"}`
          : "built for CPUs",
    ],
  ]);
  out.push("What each precision runs on");
  const columns = report.precisions.some((row) => row.gpu !== null)
    ? ["precision", "cpu", "gpu"]
    : ["precision", "cpu"];
  const width = (column) => Math.max(column.length, ...report.precisions.map((row) => (row[column] ?? "").length));
  for (const row of [Object.fromEntries(columns.map((c) => [c, c])), ...report.precisions])
    out.push(
      `  ${columns
        .map((c) => (row[c] ?? "").padEnd(width(c)))
        .join("  ")
        .trimEnd()}`,
    );
  out.push("");
  if (report.problems.length === 0) out.push("Everything is in place.");
  for (const { code, problem, fix } of report.problems) out.push(`${code}: ${problem}`, `  Fix: ${fix}`);
  return out.join("\n");
}
