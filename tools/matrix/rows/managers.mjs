/** Package managers: install, set up, train; then install again by the lock file alone, and train without a set-up. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { expectTrained, nodeOf, run, tool } from "../place.mjs";

const OURS = ["@nbit/lightning", "@nbit/torch", "nbit"];
const FILES = ["model.mjs", "train.mjs"];

/** @param {{ add: string[], exec: string[], again: string[], node?: string[], env?: object, files?: object }} how */
async function through(place, name, { add, exec, again, node = ["node"], env = {}, files = {} }) {
  const cwd = place.project(name, FILES, files);
  const options = { cwd, env };
  await run([...add, ...OURS], options);
  await run([...exec, "nbit", "setup"], options);
  expectTrained(await run([...node, "train.mjs"], options));
  rmSync(join(cwd, "node_modules"), { recursive: true, force: true });
  await run(again, options);
  expectTrained(await run([...node, "train.mjs"], options));
}

const berry = async (place, linker) => {
  const yarn = [process.execPath, join(await tool("@yarnpkg/cli-dist", "4.18.1"), "@yarnpkg/cli-dist/bin/yarn.js")];
  return {
    add: [...yarn, "add"],
    exec: [...yarn, "run"],
    again: [...yarn, "install", "--immutable"],
    node: linker === "pnp" ? [...yarn, "node"] : ["node"],
    env: { YARN_GLOBAL_FOLDER: join(place.tarballs, "yarn-berry") }, // else a tarball of an earlier run is taken
    files: {
      "yarn.lock": "",
      ".yarnrc.yml": [
        `nodeLinker: ${linker}`,
        `npmRegistryServer: ${JSON.stringify(place.registry)}`,
        'unsafeHttpWhitelist: ["127.0.0.1"]',
        "enableTelemetry: false",
        "enableGlobalCache: false",
        "",
      ].join("\n"),
    },
  };
};

export const rows = [
  {
    name: "npm",
    version: async () => (await run(["npm", "--version"], { cwd: "/" })).said.trim(),
    quick: true,
    note: "`npm install`, then `npm ci`",
    run: (place) => through(place, "npm", { add: ["npm", "install"], exec: ["npx"], again: ["npm", "ci"] }),
  },
  {
    name: "npm, `engine-strict`",
    version: async () => (await run(["npm", "--version"], { cwd: "/" })).said.trim(),
    note: "every package of the tree installs on Node.js 20.19.0, and enums run there",
    async run(place) {
      const cwd = place.project("engine-strict", [...FILES, "fit.ts", "data.ts"]);
      const node = await nodeOf("20.19.0");
      await run(["npm", "install", ...OURS], { cwd, node, env: { npm_config_engine_strict: "true" } });
      await run(["npx", "nbit", "setup"], { cwd });
      expectTrained(await run([node, "train.mjs"], { cwd, node }));
      await run([node, "node_modules/nbit/bin/nbit.mjs", "fit", "fit.ts", "--fastDevRun"], { cwd, node });
    },
  },
  {
    name: "pnpm",
    version: () => "12.23.0",
    note: "also `--frozen-lockfile`",
    async run(place) {
      const pnpm = join(await tool("pnpm", "12.23.0", { scripts: true }), ".bin", "pnpm");
      await through(place, "pnpm", {
        add: [pnpm, "add"],
        exec: [pnpm, "exec"],
        again: [pnpm, "install", "--frozen-lockfile"],
        env: { npm_config_store_dir: join(place.tarballs, "pnpm-store") },
      });
    },
  },
  {
    name: "Yarn classic",
    version: () => "1.22.22",
    note: "also `--frozen-lockfile`",
    async run(place) {
      const yarn = join(await tool("yarn", "1.22.22"), ".bin", "yarn");
      await through(place, "yarn", {
        add: [yarn, "add"],
        exec: [yarn, "-s"],
        again: [yarn, "install", "--frozen-lockfile"],
        env: { YARN_CACHE_FOLDER: join(place.tarballs, "yarn-cache") },
      });
    },
  },
  {
    name: "Yarn, `nodeLinker: node-modules`",
    version: () => "4.18.1",
    note: "also `--immutable`",
    run: async (place) => through(place, "berry", await berry(place, "node-modules")),
  },
  {
    name: "Yarn, Plug'n'Play",
    version: () => "4.18.1",
    note: "by `yarn node`; the addon is read from the cache",
    run: async (place) => through(place, "pnp", await berry(place, "pnp")),
  },
  {
    name: "Bun's installer",
    version: () => "1.4.5",
    note: "programs run by Node.js; also `--frozen-lockfile`",
    async run(place) {
      const bun = join(await tool("bun", "1.4.5", { scripts: true }), ".bin", "bun");
      await through(place, "bun", {
        add: [bun, "add"],
        exec: [bun, "run"],
        again: [bun, "install", "--frozen-lockfile"],
        env: { BUN_INSTALL_CACHE_DIR: join(place.tarballs, "bun-cache") },
      });
    },
  },
];
