/**
 * Compiles training steps for TPU topologies, without a TPU: `node benchmarks/dist/tpu/main.js [--quick] [--large] [--rows mlp,cnn] [--out FOLDER]`.
 *
 * With `--large` GPT-2 is compiled, too, which takes minutes. Fails where a step does not compile, several devices make no collectives, or FLOPs are more than 1.05 of JAX's.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { explainOn } from "@nbit/lightning";
import { seedEverything } from "@nbit/torch";
import { flagsOf } from "../flags.js";
import { jaxPrograms, jaxPython, jaxVersion, type JaxJob } from "./jax.js";
import { page, type Results, type Row } from "./page.js";
import { gpt2, SMALL, type Work } from "./workloads.js";

interface Job extends JaxJob {
  readonly strategy: "auto" | "fsdp";
}

function jobs(quick: boolean, large: boolean): Job[] {
  const of = (work: Work, topology: string, precision: "32" | "bf16", strategy: "auto" | "fsdp" = "auto"): Job => ({
    work,
    topology,
    precision,
    strategy,
  });
  if (quick) return SMALL.flatMap((work) => ["v5e:2x2", "v6e:2x2"].map((topology) => of(work, topology, "bf16")));
  const all = SMALL.flatMap((work) => [
    // A minute and more for convolutions: float32 products are sums of six of bfloat16 there.
    ...(work.id === "cnn" ? [] : [of(work, "v5e:1x1", "32")]),
    ...["v5e:1x1", "v5e:2x2", "v5e:4x4", "v6e:2x2", "v4:2x2x1"].map((topology) => of(work, topology, "bf16")),
    of(work, "v5e:2x2", "bf16", "fsdp"),
  ]);
  return large ? [...all, of(gpt2(1), "v5e:1x1", "bf16")] : all;
}

async function compile({ work, topology, precision, strategy }: Job): Promise<Row & { readonly compiler: string }> {
  seedEverything(42);
  const { module, batch } = work.make();
  const trainer = { precision, strategy } as const;
  const report = await explainOn(module, { topology, trainDataloaders: [batch, batch], trainer });
  const [program] = report.programs;
  if (program === undefined) throw new Error(`${work.id} for ${topology}: nothing was compiled`);
  const { kinds: _, ...rest } = program;
  const { devices, kind, deviceMemory, shardState, platformVersion } = report;
  console.log(`${work.id} ${topology} ${precision} ${strategy}: ${program.seconds.toFixed(1)} s`, program.collectives);
  const row = {
    model: work.name,
    topology,
    devices,
    kind,
    deviceMemory,
    precision,
    shardState,
    program: rest,
    jax: null,
  };
  return { ...row, compiler: platformVersion.split("\n").slice(1).join(", ") };
}

/** What a row breaks. */
function faults({ model, topology, devices, program, jax }: Row): string[] {
  const found: string[] = [];
  if (devices > 1 && Object.keys(program.collectives).length === 0) found.push("no collectives");
  if (jax?.devices === devices && jax.flops !== null && (program.flops ?? Infinity) > 1.05 * jax.flops)
    found.push(`${program.flops} FLOP, and JAX's program ${jax.flops}`);
  return found.map((fault) => `${model} for ${topology}: ${fault}`);
}

const flags = flagsOf(["quick", "large", "rows", "out"]);
const only = flags.get("rows")?.split(",");
const todo = jobs(flags.has("quick"), flags.has("large")).filter(({ work }) => only?.includes(work.id) ?? true);
const compiled: (Awaited<ReturnType<typeof compile>> & { readonly job: Job })[] = [];
const failed: string[] = [];
for (const job of todo)
  try {
    compiled.push({ ...(await compile(job)), job });
  } catch (error) {
    failed.push(`${job.work.name} for ${job.topology}: ${String(error)}`);
  }
const python = flags.has("quick") ? null : jaxPython();
const theirs =
  python === null
    ? []
    : jaxPrograms(
        python,
        compiled.map(({ job }) => job),
      );
const rows = compiled.map(({ compiler: _, job, ...row }, i) => ({
  ...row,
  jax: job.strategy === "auto" ? (theirs[i] ?? null) : null,
}));
const out = flags.get("out");
const date = new Date().toISOString().slice(0, 10);
const file = (ending: string): string => join(out ?? "", `${date}-tpu-compiled.${ending}`);
/** Of the same day, those that were not compiled now. */
function kept(): Row[] {
  if (out === undefined || only === undefined || !existsSync(file("json"))) return [];
  const before = JSON.parse(readFileSync(file("json"), "utf8")) as Results;
  return before.rows.filter(({ model }) => todo.every(({ work }) => work.name !== model));
}
const results: Results = {
  date,
  compiler: compiled[0]?.compiler ?? "",
  jax: python === null ? null : jaxVersion(python),
  rows: [...kept(), ...rows],
};
if (out === undefined) console.log(page(results));
else if (compiled.length > 0) {
  mkdirSync(out, { recursive: true });
  writeFileSync(file("json"), `${JSON.stringify(results, null, 2)}\n`);
  writeFileSync(file("md"), page(results));
}
const wrong = [...failed, ...rows.flatMap(faults)];
for (const fault of wrong) console.error(fault);
process.exitCode = wrong.length === 0 ? 0 : 1;
