/** Versions of TypeScript: a project that imports every entry of every package compiles, its libraries checked. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { installed, run, write } from "../place.mjs";

const OPTIONS = {
  target: "ES2022",
  module: "NodeNext",
  moduleResolution: "NodeNext",
  lib: ["ES2023", "ESNext.Disposable"],
  types: ["node"],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noImplicitOverride: true,
  skipLibCheck: false,
  noEmit: true,
};

/** A line for every entry that a package exports. */
function imports(place, cwd) {
  const entries = place.packed.flatMap(({ name }) => {
    const { exports = {} } = JSON.parse(readFileSync(join(cwd, "node_modules", name, "package.json"), "utf8"));
    return Object.entries(exports)
      .filter(([, to]) => typeof to === "object" && "types" in to)
      .map(([entry]) => name + entry.slice(1));
  });
  return entries.map((entry, i) => `import * as entry${i} from "${entry}";\nvoid entry${i};\n`).join("");
}

const row = (version, { module = "NodeNext", quick = false } = {}) => ({
  name:
    module === "NodeNext" ? `TypeScript ${version.split(".").slice(0, 2).join(".")}` : `the same, \`module\` ${module}`,
  version: () => version,
  quick,
  note: "every export; `strict`, `exactOptionalPropertyTypes`, `skipLibCheck: false`",
  async run(place) {
    const options = module === "NodeNext" ? OPTIONS : { ...OPTIONS, module: "Preserve", moduleResolution: "Bundler" };
    const cwd = await installed(place, `typescript-${version}`, ["fit.ts", "data.ts"], {
      packages: [
        `typescript@${version}`,
        "@types/node@20",
        ...place.packed.map(({ name }) => name).filter((name) => !/native-/.test(name)),
      ],
      extra: { "tsconfig.json": JSON.stringify({ compilerOptions: options, include: ["*.ts"] }) },
    });
    write(cwd, { "every.ts": imports(place, cwd) });
    await run(["node_modules/.bin/tsc", "-p", "."], { cwd });
    await run(["npx", "nbit", "fit", "fit.ts", "--accelerator", "cpu", "--fastDevRun"], { cwd });
  },
});

export const rows = [
  row("5.8.3"),
  row("5.9.3"),
  row("6.0.3"),
  row("7.0.2", { quick: true }),
  row("7.0.2", { module: "Bundler" }),
];
