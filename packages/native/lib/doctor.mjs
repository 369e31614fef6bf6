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
import { SETUP_COMMAND, cacheFolder, checkPlatform, installedAddon, packageFolder, torchSpec } from "./places.mjs";
import { choosePrebuilt, whyNoneFor } from "./prebuilt.mjs";
import { precisionTable } from "./precision-table.mjs";
import { ask, inPath } from "./run.mjs";
import { setupWith } from "./torch-choice.mjs";
import { sizeText } from "./wheel-sizes.mjs";

export { renderReport } from "./doctor-report.mjs";

/**
 * Looks at everything and changes nothing, except that a binary is put in its place, as by the first import.
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
  const chosen = libtorch === null ? null : choosePrebuilt(libtorch);
  const addon = await examineAddon({ libtorch, compiler, chosen }, readInstalled(), attempt);
  const cpu = { ...examineCpu(), kernels: addon.info?.cpuCapability ?? null };
  const gpus = examineGpus();
  // Where the platform itself is not supported, nothing else would help.
  if (!problems.some(({ code }) => code === "NBIT_PLATFORM"))
    addProblems(problems, { search, compiler, addon, gpus, chosen });
  return {
    nbit: JSON.parse(readFileSync(join(packageFolder, "package.json"), "utf8")).version,
    node: { version: process.version, path: process.execPath, headers: headers?.path ?? null },
    platform: `${process.platform}-${process.arch}`,
    cache: cacheFolder(),
    python: examinePython(),
    compiler,
    libtorch,
    looked: search?.looked ?? [],
    binary: chosen === null ? null : (chosen.reason ?? `${chosen.binary.file} of ${chosen.package}`),
    addon: { state: addon.state, path: installedAddon, detail: addon.detail, info: addon.info, threads: addon.threads },
    cpu,
    gpus,
    precisions: precisionTable(cpu, usableGpu(addon, gpus)),
    problems,
  };
}

/** What only follows from several findings. */
function addProblems(problems, { search, compiler, addon, gpus, chosen }) {
  const known = (code) => problems.some((p) => p.code === code);
  const add = (code, problem, fix) => problems.push({ code, problem, fix });
  const libtorch = search?.libtorch ?? null;
  if (libtorch === null && search !== null)
    add(
      "NBIT_NO_LIBTORCH",
      `no libtorch was found; set-up fetches one: ${sizeText(gpus.devices.length > 0, false)}.`,
      SETUP_COMMAND,
    );
  const why = libtorch === null ? whyNoneFor(torchSpec()) : (chosen?.reason ?? null);
  const needed = why !== null && addon.state !== "loads";
  if (compiler === null && needed && !problems.some((p) => /COMPILER/.test(p.code))) {
    const { code, problem, fix } = noCompiler(undefined, undefined, why);
    add(code, problem, fix);
  }
  if (addon.state !== "loads" && !known(addon.code)) add(addon.code, addon.problem, addon.fix);
  if (addon.stale)
    add(
      "NBIT_ADDON_OLD",
      "the addon is older than its sources, or was built for another libtorch or compiler.",
      SETUP_COMMAND,
    );
  if (gpus.devices.length > 0 && libtorch !== null && !libtorch.cuda)
    add(
      "NBIT_CPU_BUILD",
      `there is a GPU, but ${describeLibtorch(libtorch)} is a build for CPUs.`,
      `${setupWith("--cuda")}   # ${sizeText(true, false)}; or export LIBTORCH=/path/to/a/CUDA/build, then set up again`,
    );
}

/** The GPU that libtorch uses; before it loads, the one that is there. */
function usableGpu({ info }, { devices }) {
  const used = info === null ? devices.length > 0 : info.cudaDevices > 0;
  return used ? (devices[0] ?? null) : null;
}

function examinePython() {
  const path = inPath("python3");
  if (path === null) return null;
  const pip = /^pip [\d.]+\w*/.exec(ask(path, ["-m", "pip", "--version"]) ?? "")?.[0] ?? null;
  const version = /^Python \S+/.exec(ask(path, ["--version"]) ?? "")?.[0] ?? "does not run";
  return { path, version, pip };
}

async function examineAddon({ libtorch, compiler, chosen }, installed, attempt) {
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
  const prebuilt = chosen?.reason === null && installed?.refused !== chosen.key;
  const plan = prebuilt
    ? chosen
    : libtorch === null || compiler === null
      ? null
      : attempt(() => planAddon(libtorch, compiler));
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
  const from = installed.prebuilt ?? `compiled here by ${installed.compiler}`;
  return plan === null ? from : `up to date, ${from}`;
}
