/** A bundler that puts this package into its output leaves behind what the package consists of: files. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { SetupError } from "./errors.mjs";
import { packageFolder } from "./places.mjs";

/** @throws {SetupError} NBIT_BUNDLED where this code does not lie in its package. */
export function checkBundled(folder = packageFolder) {
  let name = null;
  try {
    ({ name } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")));
  } catch {
    // None, or not one of npm's.
  }
  if (name === "@nbit/native") return;
  throw new SetupError("NBIT_BUNDLED", {
    problem:
      "a bundler has put nbit into its output, where neither the native addon nor the files beside it are found.",
    looked: [{ place: join(folder, "package.json"), found: name === null ? "no such file" : `of ${name}` }],
    details: [
      "Packages @nbit/* and nbit have to stay outside, in node_modules:",
      "esbuild   --packages=external, or --external:@nbit/*",
      "Vite      ssr: { external: ['@nbit/torch', '@nbit/lightning'] }, and no noExternal: true",
      "Rollup    external: /^(@nbit\\/|nbit$)/",
      "webpack   externals: [/^(@nbit\\/|nbit$)/], externalsType: 'module' or 'import'",
      "Next.js   serverExternalPackages: ['@nbit/torch', '@nbit/lightning']",
    ].join("\n"),
    fix: "esbuild --packages=external …   # or your bundler's setting from above; then build again",
  });
}
