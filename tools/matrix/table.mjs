/** The results that are kept, and the page of the docs that shows them. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const RESULTS = fileURLToPath(new URL("results.json", import.meta.url));
export const PAGE = fileURLToPath(new URL("../../docs/support.md", import.meta.url));

/**
 * @typedef {{ group: string, name: string, version: string, result: "works" | "refused" | "fails", note: string,
 * tried: string }} Result
 */

/** @returns {Result[]} */
export function readResults() {
  return existsSync(RESULTS) ? JSON.parse(readFileSync(RESULTS, "utf8")) : [];
}

/**
 * Results of this run in the place of earlier ones, in the order of the rows; what is no row any more goes.
 *
 * @param {readonly Result[]} results
 * @param {readonly { title: string, rows: readonly { name: string }[] }[]} groups
 */
export function keep(results, groups) {
  const all = [...results, ...readResults()];
  const kept = groups.flatMap(({ title, rows }) =>
    rows.flatMap(({ name }) => all.find((r) => r.group === title && r.name === name) ?? []),
  );
  writeFileSync(RESULTS, `${JSON.stringify(kept, null, 2)}\n`);
  writeFileSync(PAGE, page(kept));
}

const WORDS = { works: "works", refused: "refused, with a code", fails: "does not work" };

/** @param {readonly Result[]} results */
export function page(results) {
  const groups = grouped(results);
  const tables = [...groups].map(
    ([group, rows]) =>
      `## ${group}\n\n| | version | | what was tried |\n|---|---|---|---|\n${rows.map(line).join("\n")}\n`,
  );
  return `${HEAD.replace(
    "DATE",
    results
      .map((r) => r.tried)
      .sort()
      .at(0) ?? "never",
  )}\n${tables.join("\n")}\n${FOOT}`;
}

function grouped(results) {
  const groups = new Map();
  for (const result of results) groups.set(result.group, [...(groups.get(result.group) ?? []), result]);
  return groups;
}

const line = ({ name, version, result, note }) => `| ${name} | ${version} | ${WORDS[result]} | ${note} |`;

const HEAD = `# What works with what

Written by \`npm run test:matrix\`, which tries every row: this repository's tarballs, installed from a registry of the test's own into a folder outside of the clone, set up by \`npx nbit setup\`, and a model that trains. Rows were last tried on DATE or later, on Linux x64 with libtorch 2.13.
`;

const FOOT = `## Bundled programs

Keep \`@nbit/*\` and \`nbit\` outside of what a bundler writes: the native addon, threads and kernels are files in \`node_modules\`. Code that was bundled all the same ends at its first import with \`NBIT_BUNDLED\`, and the setting that is missing.

| bundler | setting |
|---|---|
| esbuild | \`--packages=external\`, or \`--external:@nbit/*\` |
| Vite | nothing for \`build --ssr\`; with \`noExternal: true\`: \`ssr: { external: ["@nbit/torch", "@nbit/lightning"] }\` |
| Rollup | \`external: /^(@nbit\\/\\|nbit$)/\` |
| webpack | \`externals: [/^(@nbit\\/\\|nbit$)/]\`, \`externalsType: "module"\` |
| Next.js | \`serverExternalPackages: ["@nbit/torch", "@nbit/lightning"]\` in \`next.config.js\`, and routes with \`export const runtime = "nodejs"\` |

Next.js was not tried. Its server leaves named packages to Node.js, as the bundlers above do; routes on the edge runtime have no native addons at all.

## CommonJS

Packages are ES modules. \`require("@nbit/torch")\` works in every Node.js from 20.19 and 22.12 on, which can require ES modules (22.12 warns of it); TypeScript that compiles to CommonJS needs \`"module": "nodenext"\` for it, or \`await import("@nbit/torch")\`.

## Bun and Deno

Both load the addon and train to the same numbers. Threads that load data (\`numWorkers\` above 0) need to know in which module a class was written, which only V8's inspector in Node.js tells: there they are refused with \`ERR_ARGUMENT\`. Deno asks for \`deno run -A\`, since an addon is no code that it could confine.

## Electron

Its V8 keeps all memory that JavaScript sees in a cage of its own, and lets no addon share memory with it. nbit does, so its import ends with \`NBIT_ELECTRON\`, also under \`ELECTRON_RUN_AS_NODE\`. Train in a process of Node.js beside it: \`child_process.fork(file, { execPath: "/path/to/node" })\`, with messages. Electron itself was not run here: its binary is not on npm; the refusal was tried with its version set.
`;

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = page(readResults());
  if (!process.argv.includes("--check")) writeFileSync(PAGE, text);
  else if (readFileSync(PAGE, "utf8") !== text) {
    console.log("docs/support.md differs from tools/matrix/results.json. Fix: node tools/matrix/table.mjs");
    process.exitCode = 1;
  }
}
