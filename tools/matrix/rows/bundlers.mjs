/** Bundlers: a program with the packages outside trains; one with them inside says what to write. */
import { renameSync } from "node:fs";
import { join } from "node:path";
import { Failed, expectTrained, installed, run } from "../place.mjs";

const VERSIONS = { esbuild: "0.28.2", rollup: "4.68.8", vite: "8.4.0", webpack: "5.113.0" };
const CONFIGS = {
  "vite-inside.mjs": "export default { ssr: { noExternal: true } };\n",
  "rollup-outside.mjs":
    "export default { input: 'train.mjs', external: /^(@nbit\\/|nbit$)/, output: { dir: 'outside' } };\n",
  "rollup-inside.mjs":
    "import resolve from '@rollup/plugin-node-resolve';\nexport default { input: 'train.mjs', plugins: [resolve()], output: { dir: 'inside' } };\n",
  ...Object.fromEntries(
    ["outside", "inside"].map((side) => [
      `webpack-${side}.mjs`,
      `export default ${JSON.stringify({
        mode: "production",
        target: "node20",
        entry: "./train.mjs",
        experiments: { outputModule: true },
        externalsType: "module",
        output: { path: "PATH", filename: "train.mjs", library: { type: "module" }, chunkFormat: "module" },
      })
        .replace('"PATH"', `import.meta.dirname + "/${side}"`)
        .replace(/\}$/, side === "outside" ? ", externals: [/^(@nbit\\/|nbit$)/] }" : "}")};\n`,
    ]),
  ),
};

/** One bundler in a project of its own. */
async function bundles(place, name, packages, { outside, inside, elsewhere = false }) {
  const options = { packages, extra: CONFIGS };
  const cwd = await installed(place, name, ["model.mjs", "train.mjs", "later.mjs"], options);
  const bundle = ([program, ...args]) => run([`node_modules/.bin/${program}`, ...args], { cwd });
  await bundle(outside.command);
  expectTrained(await run(["node", outside.output], { cwd }));
  for (const { command, output } of inside) {
    await bundle(command);
    if (elsewhere) renameSync(join(cwd, "node_modules"), join(cwd, "moved")); // paths are written into the output
    const { status, said } = await run(["node", output], { cwd, expect: null });
    if (status === 0 || !said.includes("NBIT_BUNDLED") || !said.includes("Next.js"))
      throw new Failed(`expected NBIT_BUNDLED of ${output}. It said:\n${said}`);
  }
}

const ESBUILD = ["esbuild", "--bundle", "--platform=node"];
const NOTE = "outside: trains; inside: `NBIT_BUNDLED`";

export const rows = [
  {
    name: "esbuild",
    version: () => VERSIONS.esbuild,
    note: `${NOTE} (ES module and CommonJS)`,
    quick: true,
    run: (place) =>
      bundles(place, "esbuild", [`esbuild@${VERSIONS.esbuild}`], {
        outside: {
          command: [...ESBUILD, "train.mjs", "--format=esm", "--packages=external", "--outfile=outside.mjs"],
          output: "outside.mjs",
        },
        inside: [
          { command: [...ESBUILD, "train.mjs", "--format=esm", "--outfile=inside.mjs"], output: "inside.mjs" },
          { command: [...ESBUILD, "later.mjs", "--format=cjs", "--outfile=inside.cjs"], output: "inside.cjs" },
        ],
      }),
  },
  {
    name: "Vite, `build --ssr`",
    version: () => VERSIONS.vite,
    note: `${NOTE} (\`noExternal: true\`); outside is its default`,
    run: (place) =>
      bundles(place, "vite", [`vite@${VERSIONS.vite}`], {
        outside: {
          command: ["vite", "build", "--ssr", "train.mjs", "--outDir", "outside"],
          output: "outside/train.js",
        },
        inside: [
          {
            command: ["vite", "build", "-c", "vite-inside.mjs", "--ssr", "train.mjs", "--outDir", "inside"],
            output: "inside/train.js",
          },
        ],
      }),
  },
  {
    name: "Rollup",
    version: () => VERSIONS.rollup,
    note: NOTE,
    run: (place) =>
      bundles(place, "rollup", [`rollup@${VERSIONS.rollup}`, "@rollup/plugin-node-resolve@16"], {
        outside: { command: ["rollup", "-c", "rollup-outside.mjs"], output: "outside/train.js" },
        inside: [{ command: ["rollup", "-c", "rollup-inside.mjs"], output: "inside/train.js" }],
      }),
  },
  {
    name: "webpack",
    version: () => VERSIONS.webpack,
    note: "outside: trains; inside: trains where it was built, `NBIT_BUNDLED` elsewhere",
    run: (place) =>
      bundles(place, "webpack", [`webpack@${VERSIONS.webpack}`, "webpack-cli@6"], {
        outside: { command: ["webpack", "-c", "webpack-outside.mjs"], output: "outside/train.mjs" },
        inside: [{ command: ["webpack", "-c", "webpack-inside.mjs"], output: "inside/train.mjs" }],
        elsewhere: true,
      }),
  },
];
