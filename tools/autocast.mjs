/**
 * The page of autocast's policies, docs/autocast.md, and the same as data for docstrings of operators: `node
 * tools/autocast.mjs` writes them, `--check` fails where they are not current. Nothing in it is copied by hand: the CPU's rules come from calling each operator (amp.policyTable),
 * CUDA's from the lists in libtorch's own header, that its kernels are made from. With another libtorch than the pinned
 * one there is nothing to check.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { format, resolveConfig } from "prettier";
import { PINNED_SPEC } from "../packages/native/lib/places.mjs";
import { fromRoot, root } from "./workspace.mjs";

const PAGE = join(root, "docs", "autocast.md");
const TABLE = join(root, "packages", "native", "manifest", "autocast.json");
/** Lists of autocast_mode.h, and what the kernels of each do. */
const LISTS = {
  AT_FORALL_LOWER_PRECISION_FP: "lower",
  AT_FORALL_FP32: "float32",
  AT_FORALL_FP32_SET_OPT_DTYPE: "setOptDtype",
  AT_FORALL_PROMOTE: "promote",
};
/**
 * Kernels that libtorch registers one by one, outside of the lists. Recorded results of a GPU are in
 * tests/gpu/autocast/fixture.json; a test compares them with every rule of the page.
 */
const SINGLE = {
  binary_cross_entropy: "banned",
  cudnn_convolution: "lower",
  cudnn_convolution_transpose: "lower",
  norm: "appendDtype",
};

/** CUDA's rules by operator, as the header has them. */
export function rulesOfHeader(header) {
  const rules = new Map(Object.entries(SINGLE));
  for (const [list, rule] of Object.entries(LISTS)) {
    const body = new RegExp(String.raw`#define ${list}\(_\)\s*\\\n((?:.*\\\n)*.*\n)`).exec(header)?.[1];
    if (body === undefined) throw new Error(`autocast: autocast_mode.h has no ${list}`);
    for (const [, name] of body.matchAll(/_\(\s*(\w+)/g)) rules.set(name, rule);
  }
  return rules;
}

const WORDS = {
  lower: "lower precision",
  float32: "float32",
  setOptDtype: "float32",
  appendDtype: "float32",
  promote: "widest",
  banned: "refused",
  none: "–",
};
const MEANING = [
  ["lower precision", "inputs are cast to the region's dtype (bfloat16, or float16)"],
  ["float32", "inputs are cast to float32, or the operator computes with `dtype: float32`"],
  ["widest", "inputs of several dtypes are cast to the widest of them"],
  ["refused", "an error in a 16-bit dtype: use the form on logits"],
  ["–", "nothing is cast: it runs in the dtype that its inputs have"],
];

const camel = (name) => name.replace(/_+([a-z0-9])/g, (_, letter) => letter.toUpperCase());
/** Where a user finds an operator here: `linalg.inv`, `nn.functional.gelu`, `matmul`; null for one behind others. */
function placeOf(name, torch) {
  if (name.startsWith("_") || name.startsWith("cudnn_")) return null;
  for (const space of ["linalg", "fft", "special"]) {
    const short = camel(name.slice(space.length + 1));
    if (name.startsWith(`${space}_`) && short in torch[space]) return `${space}.${short}`;
  }
  const short = camel(name);
  if (short in torch) return short;
  if (short in torch.nn.functional) return `nn.functional.${short}`;
  return short in torch.Tensor.prototype ? `Tensor.${short}` : null;
}

const counted = (rules) =>
  MEANING.slice(0, -1)
    .map(([word]) => [word, [...rules.values()].filter((rule) => WORDS[rule] === word).length])
    .filter(([, count]) => count > 0)
    .map(([word, count]) => `${count} ${word}`)
    .join(", ");

/** The page. @param {{ cpu: Map<string, string>, cuda: Map<string, string>, version: string, torch: object }} all */
export async function pageOf({ cpu, cuda, version, torch }) {
  const names = [...new Set([...cpu.keys(), ...cuda.keys()])].sort();
  const rows = names.map((name) => {
    const place = placeOf(name, torch);
    const [onCpu, onCuda] = [cpu, cuda].map((rules) => WORDS[rules.get(name) ?? "none"]);
    return `| \`${name}\` | ${place === null ? "–" : `\`${place}\``} | ${onCpu} | ${onCuda} |`;
  });
  const same = names.filter((name) => WORDS[cpu.get(name) ?? "none"] === WORDS[cuda.get(name) ?? "none"]).length;
  const text = `# What autocast does with each operator

<!-- Written by tools/autocast.mjs from libtorch ${version}; do not edit. -->

Within \`autocast\`, and in the mixed precisions of the Trainer ("16-mixed", "bf16-mixed"), libtorch chooses the dtype of
each operator by a policy of its own, which is not the same on every device. Of libtorch ${version}:

- CPU: ${cpu.size} operators have a policy: ${counted(cpu)}.
- CUDA: ${cuda.size} operators have a policy: ${counted(cuda)}.
- ${same} of the ${names.length} in the table do the same on both.

| policy | what it does |
| --- | --- |
${MEANING.map(([word, what]) => `| ${word} | ${what} |`).join("\n")}

Every operator that is not in the table runs in the dtype that its inputs have, on both devices. Only floating point
tensors are cast; float64 is never cast to less. Calls in place (\`x.add_(y)\`) and into \`out\` are not cast: they write the
dtype that is there. Gradients are computed in the dtype of the forward. PyTorch's page of the same is its
[Autocast Op Reference](https://docs.pytorch.org/docs/2.13/amp.html#autocast-op-reference).

A program asks the libtorch that it runs with, and changes the policy of single operators:

\`\`\`ts
import { amp, autocast, ones } from "@nbit/torch";

amp.policyTable("cpu").get("mm"); // "lower"
amp.policyTable("cpu").get("softmax") ?? "none"; // no policy on the CPU: it runs in its input's dtype
const a = ones([2, 2]);
autocast({ dtype: "bfloat16" }, () => {
  console.log(a.mm(a).dtype); // "bfloat16"
  amp.policy({ mm: "float32" }, () => console.log(a.mm(a).dtype)); // "float32"
});
\`\`\`

[precision-guide.md](precision-guide.md) says which precision to choose.

| operator | in nbit | CPU | CUDA |
| --- | --- | --- | --- |
${rows.join("\n")}
`;
  return format(text, { ...(await resolveConfig(PAGE)), parser: "markdown" });
}

/** The same for those who generate docstrings: words of [CPU, CUDA] by operator, null for none. */
export function tableOf({ cpu, cuda }) {
  const names = [...new Set([...cpu.keys(), ...cuda.keys()])].sort();
  const word = (rule) => (rule === undefined ? null : WORDS[rule]);
  const lines = names.map(
    (name) => `  ${JSON.stringify(name)}: ${JSON.stringify([word(cpu.get(name)), word(cuda.get(name))])}`,
  );
  return `{\n${lines.join(",\n")}\n}\n`;
}

/** What the installed libtorch says, by file; null where that is not the pinned one. */
export async function installedPages() {
  const { libtorch } = await import("../packages/native/lib/index.mjs");
  if (`torch==${libtorch.version}` !== PINNED_SPEC) return null;
  const torch = await import("../packages/torch/dist/index.js");
  const header = readFileSync(join(libtorch.path, "include", "ATen", "autocast_mode.h"), "utf8");
  const all = {
    cpu: torch.amp.policyTable("cpu"),
    cuda: rulesOfHeader(header),
    version: libtorch.version.replace(/\.\d+$/, ""),
    torch,
  };
  return new Map([
    [PAGE, await pageOf(all)],
    [TABLE, tableOf(all)],
  ]);
}

async function main(check) {
  const pages = await installedPages();
  if (pages === null) {
    console.log(`autocast: the page is of ${PINNED_SPEC}, and this is another libtorch: nothing to do`);
    return;
  }
  for (const [file, text] of pages) {
    if (!check) writeFileSync(file, text);
    else if (!existsSync(file) || readFileSync(file, "utf8") !== text) {
      console.error(`${fromRoot(file)} is not what libtorch does. Fix: node tools/autocast.mjs`);
      process.exitCode = 1;
    }
  }
}

if (process.argv[1] === join(root, "tools", "autocast.mjs")) await main(process.argv.includes("--check"));
