/** Test runners: two files that import nbit and train. */
import { renameSync } from "node:fs";
import { join } from "node:path";
import { Failed, installed, nodeOf, run } from "../place.mjs";

const VERSIONS = { jest: "30.5.2", vitest: "5.1.2" };

async function project(place, name, packages, { extra, node } = {}) {
  const cwd = await installed(place, name, ["model.mjs", "runners"], { packages, extra, node });
  for (const file of ["first", "second"])
    renameSync(join(cwd, "runners", `${file}.mjs`), join(cwd, "runners", `${file}.test.mjs`));
  return cwd;
}

function passed({ said }, pattern) {
  if (!pattern.test(said)) throw new Failed(`expected ${String(pattern)}. It said:\n${said}`);
}

const vitest = (pool, quick = false) => ({
  name: `Vitest, \`pool: "${pool}"\``,
  version: () => VERSIONS.vitest,
  quick,
  note: "two files that train",
  async run(place) {
    const config = `export default { test: { globals: true, pool: ${JSON.stringify(pool)}, testTimeout: 60000 } };\n`;
    const node = await nodeOf("24.20.0"); // it asks for 22 at least
    const cwd = await project(place, `vitest-${pool}`, [`vitest@${VERSIONS.vitest}`], {
      extra: { "vitest.config.mjs": config },
      node,
    });
    passed(await run([node, "node_modules/vitest/vitest.mjs", "run"], { cwd, node }), /Tests +3 passed/);
  },
});

export const rows = [
  {
    name: "node:test",
    version: () => process.versions.node,
    note: "two files that train, a process each",
    async run(place) {
      const cwd = await project(place, "node-test", []);
      const files = ["runners/first.test.mjs", "runners/second.test.mjs"];
      passed(await run(["node", "--import=./runners/node-test.mjs", "--test", ...files], { cwd }), /^(#|ℹ) pass 3$/m);
    },
  },
  {
    name: "Jest",
    version: () => VERSIONS.jest,
    note: "two files that train, with `--experimental-vm-modules`, as Jest asks for with ES modules",
    async run(place) {
      const cwd = await project(place, "jest", [`jest@${VERSIONS.jest}`], {
        extra: {
          "jest.config.mjs": "export default { transform: {}, testMatch: ['**/*.test.mjs'], testTimeout: 60000 };\n",
        },
      });
      const jest = ["node", "--experimental-vm-modules", "node_modules/jest/bin/jest.js"];
      passed(await run(jest, { cwd }), /Tests: +3 passed/);
      passed(await run([...jest, "--runInBand"], { cwd }), /Tests: +3 passed/);
    },
  },
  vitest("forks", true),
  vitest("threads"),
  vitest("vmThreads"),
  vitest("vmForks"),
];
