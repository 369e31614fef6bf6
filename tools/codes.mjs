/**
 * The pages of error codes, in `docs/errors.md` and `docs/errors`, from the one table of the command
 * (packages/cli/src/codes/table): `node tools/codes.mjs` writes them, `--check` fails where they are not current, where
 * the sources have a code that the table lacks, and where the table has one that nobody raises.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join, sep } from "node:path";
import { format, resolveConfig } from "prettier";
import { filesBelow, fromRoot, root } from "./workspace.mjs";

/** Texts in capitals that are no codes: environment variables, and names of formats, kernels and protocols. */
const NO_CODE =
  /^(?:(?:SLURM|TF|TPU|TORCHELASTIC|OMPI|PMI|PMIX|PALS|MPI|XDG|NODE|PET|PIP|WANDB|MLFLOW|OMP|MKL|KINETO|GLOO|NCCL|PJRT|GROUP|LOCAL|MASTER|WORLD|ROLE|HAS|KEEP|F8|GRAY|RGB|RNN|EAI|ALLOW|FORCE|NO_COLOR|CUDA_HOME|CUDA_PATH|CUDA_VISIBLE|CUDA_LAUNCH|ATEN_CPU|TORCH_NCCL|TORCH_CPP|TORCH_CUDA|PYTORCH)(?:_|$)|(?:ERR_)?MODULE_NOT_FOUND$|ERR_DLOPEN_FAILED$|SUDO_USER$|NBIT_(?:CPU_ALLOCATOR|GLOBAL_SEED|LAUNCHER|RUN_ID|STACK|STORE_FD|TORCH_SPEC|HOME|XLA_CACHE|XLA_DEVICES|CACHE|MIRROR|WHEELS)$|CHECKPOINT_COMPLETE$|RESOURCE_DOES_NOT_EXIST$|NO_ANSWER$|NO_PROXY$|(?:INVALID_ARGUMENT|DEADLINE_EXCEEDED|NOT_FOUND|ALREADY_EXISTS|PERMISSION_DENIED|RESOURCE_EXHAUSTED|FAILED_PRECONDITION|OUT_OF_RANGE|DATA_LOSS)$)/;
/** A code alone in quotes, or in a line of the command's; comments quote them in backticks. */
const TEXT = /"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|TORCH)"|`warning (WARN_[A-Z_]+):/g;
/** Status of PJRT, which `XLA_` is put before, and of the operating system, which are keys of a table. */
const DERIVED = [
  ["packages/xla/native/host/plugin.cc", /const char\* STATUS\[\] = \{([^}]*)\}|STATUS\[\] *= *\{([^}]*)\}/, "XLA_"],
  ["packages/torch/src/io/errors.ts", /const FIXES[^{]*\{([^}]*)\}/, ""],
];

const isSource = (file) =>
  /\.(?:ts|mts|mjs|cc|h|inc)$/.test(file) &&
  !/\.test\.|\.d\.m?ts$/.test(file) &&
  !/packages\/[^/]+\/(?:dist|build|generated|tests?)\/|\/testing\/|codes\/table\//.test(file);

/** Every code that the sources of packages have, with the folders of the packages that have it. */
export function codesOfSources() {
  const found = new Map();
  const add = (code, file) => {
    const packages = found.get(code) ?? new Set();
    found.set(code, packages.add(file.split("/")[1]));
  };
  for (const path of filesBelow(join(root, "packages"), isSourceName, ["node_modules", "build"])) {
    const file = fromRoot(path).split(sep).join("/");
    if (!isSource(file)) continue;
    for (const [, text, line] of readFileSync(path, "utf8").matchAll(TEXT)) {
      const code = text ?? line;
      if (!NO_CODE.test(code)) add(code, file);
    }
  }
  for (const [file, block, before] of DERIVED) {
    const inside = block.exec(readFileSync(join(root, file), "utf8"));
    for (const [code] of (inside?.[1] ?? inside?.[2] ?? "").matchAll(/\b[A-Z][A-Z_]+\b/g))
      if (code !== "OK") add(before + code, file);
  }
  return found;
}
const isSourceName = (name) => /\.(?:ts|mts|mjs|cc|h|inc)$/.test(name);

/** What table and sources say differently, a line each. */
export function faultsOfTable(families, sources = codesOfSources()) {
  const faults = [];
  const known = new Map();
  for (const family of families)
    for (const [code, row] of Object.entries(family.codes)) {
      if (known.has(code)) faults.push(`${code} is in the table twice: in ${known.get(code)} and ${family.name}`);
      known.set(code, family.name);
      const raisedIn = sources.get(code);
      if (raisedIn === undefined) faults.push(`${code} is in the table (${family.name}), and nothing raises it`);
      for (const name of raisedIn === undefined ? [] : (row.in ?? family.in))
        if (!raisedIn.has(name)) faults.push(`${code}: packages/${name} does not raise it; ${[...raisedIn]} does`);
    }
  for (const [code, packages] of sources)
    if (!known.has(code))
      faults.push(
        `${code} of ${[...packages]} is not in packages/cli/src/codes/table. Add a row: what it means, a typical cause, what to do (or tell tools/codes.mjs that it is no code)`,
      );
  return faults;
}

/** The pages, by their path from the root, formatted as prettier has them. */
export async function pages(families, { indexText, pageText }) {
  const options = await resolveConfig(join(root, "docs", "errors.md"));
  const tidy = (text) => format(text, { ...options, parser: "markdown" });
  const list = [["docs/errors.md", await tidy(indexText(families))]];
  for (const family of families) list.push([`docs/errors/${family.name}.md`, await tidy(pageText(family))]);
  return new Map(list);
}

async function main(check) {
  const { FAMILIES } = await import("../packages/cli/dist/codes/index.js");
  const written = await pages(FAMILIES, await import("../packages/cli/dist/codes/section.js"));
  const folder = join(root, "docs", "errors");
  const stale = existsSync(folder)
    ? readdirSync(folder)
        .map((name) => `docs/errors/${name}`)
        .filter((name) => !written.has(name))
    : [];
  const faults = faultsOfTable(FAMILIES);
  if (check) {
    for (const [name, text] of written)
      if (!existsSync(join(root, name)) || readFileSync(join(root, name), "utf8") !== text)
        faults.push(`${name} is not what the table gives. Fix: node tools/codes.mjs`);
    for (const name of stale) faults.push(`${name} is of no family. Fix: node tools/codes.mjs`);
  } else {
    mkdirSync(folder, { recursive: true });
    for (const [name, text] of written) writeFileSync(join(root, name), text);
    for (const name of stale) rmSync(join(root, name));
  }
  for (const fault of faults) console.error(fault);
  const count = FAMILIES.reduce((sum, { codes }) => sum + Object.keys(codes).length, 0);
  console.log(`codes: ${count} in ${FAMILIES.length} families, ${faults.length} faults`);
  if (faults.length > 0) process.exitCode = 1;
}

if (process.argv[1] === join(root, "tools", "codes.mjs")) await main(process.argv.includes("--check"));
