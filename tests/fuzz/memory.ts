/**
 * Small fits and saves with the n-th allocation failing, for every n: `npm run fuzz:memory -- [plan …] [--every=1]`.
 * Prints what was wrong, and fails.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { PLANS, isPlan, type PlanName } from "./memory-plans.js";

export interface MemoryFinding {
  readonly plan: PlanName;
  readonly n: number;
  /** "success", or the error's message. */
  readonly outcome: string;
  readonly wrong: string | null;
}
export interface MemoryReport {
  readonly allocations: number;
  readonly findings: readonly MemoryFinding[];
}
const worker = fileURLToPath(new URL("memory-worker.js", import.meta.url));
const PATIENCE_MS = 10 * 60_000;

/**
 * Lets the allocations `which` of a plan fail, one after another in one process. A process that dies or hangs is a
 * finding of the n at which it did.
 */
export function failEach(plan: PlanName, which: readonly number[]): Promise<MemoryReport> {
  return new Promise((resolve, reject) => {
    const settings = {
      encoding: "utf8",
      maxBuffer: 1 << 28,
      timeout: PATIENCE_MS,
      killSignal: "SIGKILL",
      env: { ...process.env, OMP_NUM_THREADS: "1" },
    } as const;
    execFile(process.execPath, [worker, plan, which.join(",")], settings, (error, stdout, stderr) => {
      const lines = stdout
        .split("\n")
        .filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line) as unknown);
      const [first, ...rest] = lines as [
        { readonly allocations: number } | undefined,
        ...Omit<MemoryFinding, "plan">[],
      ];
      if (first === undefined)
        return reject(new Error(`plan ${plan}, undisturbed: ${stderr.slice(-2000)}`, { cause: error }));
      const findings: MemoryFinding[] = rest.map((finding) => ({ plan, ...finding }));
      const n = which[findings.length];
      if (n !== undefined)
        findings.push({
          plan,
          n,
          outcome: "",
          wrong: `the process ended (${error?.signal ?? error?.code ?? "?"}): ${stderr.trim().split("\n").slice(-5).join(" | ")}`,
        });
      return resolve({ allocations: first.allocations, findings });
    });
  });
}

/** Every `step`-th allocation of a plan; a process that dies is followed by the next one. */
async function failAll(plan: PlanName, step: number): Promise<readonly MemoryFinding[]> {
  const { allocations } = await failEach(plan, []);
  const left = Array.from({ length: Math.ceil(allocations / step) }, (_, i) => 1 + i * step);
  const all: MemoryFinding[] = [];
  while (left.length > 0) {
    const { findings } = await failEach(plan, left.slice(0, 200));
    left.splice(0, findings.length);
    all.push(...findings);
  }
  return all;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const args = process.argv.slice(2);
  const step = Number(args.find((arg) => arg.startsWith("--every="))?.slice("--every=".length) ?? 1);
  const wanted = args.filter((arg) => !arg.startsWith("--"));
  const plans = wanted.length > 0 ? wanted.filter(isPlan) : (Object.keys(PLANS) as PlanName[]);
  if (plans.length < wanted.length || !Number.isInteger(step) || step < 1) {
    console.error(
      `npm run fuzz:memory: expected plans among ${Object.keys(PLANS).join(", ")}, and --every=n with n ≥ 1. Received: ${args.join(" ")}.`,
    );
    process.exit(1);
  }
  for (const plan of plans) {
    const findings = await failAll(plan, step);
    const wrong = findings.filter((finding) => finding.wrong !== null);
    const survived = findings.filter((finding) => finding.outcome === "success").length;
    console.log(
      `${plan}: ${findings.length} allocations failed in turn; ${survived} times nothing came of it, ${wrong.length} findings`,
    );
    for (const { n, wrong: what } of wrong) console.log(`  ${plan} ${n}: ${what ?? ""}`);
    if (wrong.length > 0) process.exitCode = 1;
  }
}
