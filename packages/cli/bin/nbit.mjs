#!/usr/bin/env node
/**
 * The command. It lives in TypeScript (`src/shell.ts`); `doctor` and `setup` have to work before that is compiled, or
 * when it cannot be, and then run from here.
 */
import { existsSync, readFileSync } from "node:fs";

const compiled = new URL("../dist/shell.js", import.meta.url);
const args = process.argv.slice(2);

// Scripts ask for it often, and it takes no more than a look into a file.
if (args.length === 1 && ["version", "--version", "-v"].includes(args[0])) {
  console.log(JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version);
} else {
  const main = existsSync(compiled) ? await load() : null;
  process.exitCode = main === null ? await withoutTypeScript(args) : await main(args);
}

async function load() {
  try {
    const { shell } = await import(compiled.href);
    return typeof shell === "function" ? shell : null;
  } catch (error) {
    // Compiled, but node_modules has gone since; or half compiled, when a disk was full.
    if (error.code === "ERR_MODULE_NOT_FOUND" || error instanceof SyntaxError) return null;
    throw error;
  }
}

async function withoutTypeScript([command, ...flags]) {
  switch (command) {
    case "doctor": {
      const { examine, renderReport } = await native("doctor");
      const report = await examine();
      console.log(renderReport(report));
      return report.problems.length === 0 ? 0 : 1;
    }
    case "setup": {
      const clone = new URL("../../../tools/setup.mjs", import.meta.url);
      try {
        const { readSetupFlags, setupNative } = await native("setup");
        const { which, plugins } = readSetupFlags(flags);
        if (existsSync(clone)) await (await import(clone.href)).setup(undefined, plugins, which);
        else await setupNative(which);
        return 0;
      } catch (error) {
        if (typeof error?.code !== "string" || !error.code.startsWith("NBIT_")) throw error;
        console.error(error.message);
        return 1;
      }
    }
    default: {
      const { SETUP_COMMAND } = await native("build");
      const code = "NBIT_NOT_BUILT";
      console.error(
        `${code}: this copy of nbit is not built yet. Received: nbit ${command ?? "without a command"}.\n` +
          `  Fix: ${SETUP_COMMAND}   # fetches and builds what is missing; nbit doctor works already`,
      );
      return 1;
    }
  }
}

/** In a clone without node_modules the package is not linked yet; its files are there all the same. */
async function native(part) {
  try {
    return await import(`@nbit/native/${part}`);
  } catch (error) {
    if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
    return import(new URL(`../../native/lib/${part}.mjs`, import.meta.url).href);
  }
}
