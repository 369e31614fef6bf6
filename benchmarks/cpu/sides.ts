/** The sides of a row: nbit's own, and the peers that are installed. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { XLAAccelerator } from "@nbit/lightning";
import type { Job, SideName } from "./job.js";

const nbitScript = fileURLToPath(new URL("nbit/main.js", import.meta.url));
const peerScript = fileURLToPath(new URL("../../cpu/python/side.py", import.meta.url));

/** In the order of the table's columns. */
export const SIDES: Readonly<Record<SideName, string>> = {
  trainer: "nbit Trainer",
  loop: "nbit loop",
  pytorch: "PyTorch",
  "pytorch-keep": "PyTorch, memory kept",
  compile: "torch.compile",
  lightning: "Lightning",
  jax: "JAX jit",
  eager: "nbit Trainer, no replay",
  xla: "nbit Trainer, XLA",
};
export const PEERS = ["pytorch", "compile", "lightning", "jax"] as const;
/** Measured where `--peers` names them: nbit by other ways. */
export const OTHER_WAYS = ["eager", "xla"] as const;
export type Peer = (typeof PEERS)[number] | (typeof OTHER_WAYS)[number];
const NBIT: readonly SideName[] = ["trainer", "loop", ...OTHER_WAYS];
export const isNbit = (side: SideName): boolean => NBIT.includes(side);
/** What `--peers` must name for a side to be measured. */
export const peerOf = (side: SideName): Peer | null =>
  side === "trainer" || side === "loop" ? null : side === "pytorch-keep" ? "pytorch" : side;

export interface Versions {
  readonly python: string;
  readonly torch: string;
  readonly capability: string;
  readonly lightning: string | null;
  readonly jax: string | null;
  /** Whether torch.compile has a C++ compiler. */
  readonly compiler: boolean;
}
export interface Python {
  readonly python: string;
  readonly versions: Versions;
}
const INSTALL = "pip install 'torch==2.13.0' 'lightning==2.6.6' jax numpy";

/** `NBIT_BASELINE_PYTHON`, else `python3`, when it has torch; otherwise a sentence on what to do. */
export function findPython(): Python | { readonly missing: string } {
  const named = process.env["NBIT_BASELINE_PYTHON"];
  const python = named ?? "python3";
  const { status, stdout } = spawnSync(python, [peerScript, '{"kind":"versions"}'], {
    encoding: "utf8",
    env: { ...process.env, NBIT_BENCH_STARTED: "0" },
  });
  const versions = status === 0 ? (JSON.parse(stdout) as Versions | { readonly torch: null }) : { torch: null };
  if (versions.torch !== null) return { python, versions: versions as Versions };
  return {
    missing:
      `${named === undefined ? "python3 has" : `NBIT_BASELINE_PYTHON=${named} has`} no torch, and a benchmark is a comparison.\n` +
      `  Fix: python3 -m venv baseline && baseline/bin/${INSTALL} && NBIT_BASELINE_PYTHON=baseline/bin/python npm run bench`,
  };
}

/** Why a side cannot be measured, or null. */
export function holeOf(side: SideName, versions: Versions): string | null {
  const peer = peerOf(side);
  if (peer === "lightning" && versions.lightning === null) return "lightning is not installed";
  if (peer === "jax" && versions.jax === null) return "jax is not installed";
  if (peer === "compile" && !versions.compiler) return "no C++ compiler";
  if (peer === "xla") return new XLAAccelerator().missing();
  return null;
}

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** How a job is started. `python`: the interpreter, for jobs of peers; null for nbit's. */
export function commandOf(job: Job, python: string | null, node: readonly string[] = []): Command {
  const text = JSON.stringify(job);
  if (python === null)
    return { program: process.execPath, args: [...node, nbitScript, text], env: ourEnvironment(job) };
  return { program: python, args: [peerScript, text], env: job.kind === "step" ? environmentOf(job) : {} };
}

// XLA's pool has as many threads as it is told that there are processors.
const ofXla = (threads: number): Command["env"] => ({
  NPROC: `${threads}`,
  XLA_FLAGS: `--xla_cpu_multi_thread_eigen=${threads > 1}`,
});
function ourEnvironment(job: Job): Command["env"] {
  return job.kind === "step" && job.side === "xla" ? ofXla(job.threads) : {};
}
function environmentOf({ side, threads }: { readonly side: SideName; readonly threads: number }): Command["env"] {
  if (side === "jax") return { ...ofXla(threads), JAX_PLATFORMS: "cpu" };
  // glibc returns large blocks to the system when they are freed, unless it is told not to.
  if (side === "pytorch-keep") return { MALLOC_MMAP_THRESHOLD_: `${2 ** 30}`, MALLOC_TRIM_THRESHOLD_: `${2 ** 30}` };
  return {};
}
