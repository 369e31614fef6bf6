/**
 * Makes a clone ready to run: npm dependencies, libtorch, the addons, TypeScript. Does only what is missing, so that a
 * second run costs tenths of a second; an interrupted run goes on where it stopped.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { FULL, SetupError, packageDiskFull } from "../packages/native/lib/errors.mjs";
import { withLock } from "../packages/native/lib/lock.mjs";
import { checkPlatform, checkUser } from "../packages/native/lib/places.mjs";
import { Progress } from "../packages/native/lib/progress.mjs";
import { endChildren } from "../packages/native/lib/run.mjs";
import { readSetupFlags } from "../packages/native/lib/setup-flags.mjs";
import { installDependencies } from "./install.mjs";
import { compileTypeScript } from "./typescript.mjs";
import { root } from "./workspace.mjs";

/**
 * @param {Progress} [progress]
 * @param {{ cpu?: boolean, tpu?: boolean }} [xla] Which plugins of XLA's to fetch and build as well.
 * @param {import("../packages/native/lib/setup.d.mts").TorchFlags} [which] Which libtorch is wanted.
 */
export async function setup(progress = new Progress(), xla = {}, which = {}) {
  checkPlatform();
  checkUser();
  const began = performance.now();
  try {
    mkdirSync(join(root, "build"), { recursive: true });
    await everything(progress, xla, which);
  } catch (error) {
    throw FULL.test(error?.code) ? packageDiskFull(root, error) : error; // a stamp that could not be written
  }
  if (progress.steps > 0) progress.note(`ready in ${((performance.now() - began) / 1000).toFixed(1)} s`);
}

function everything(progress, xla, which) {
  return withLock(
    join(root, "build", "setup.lock"),
    async () => {
      await installDependencies(progress);
      // Loaded now: the headers that it may need came with the dependencies.
      const { setupNative } = await import("../packages/native/lib/setup.mjs");
      await setupNative({ progress, ...which });
      const { setupXla } = await import("../packages/xla/lib/setup.mjs");
      await setupXla({ progress, ...xla });
      await compileTypeScript(progress);
    },
    (holder, wait) => progress.step("set-up", `waiting for ${holder}, which does the same`, wait),
  );
}

if (process.argv[1] === join(root, "tools", "setup.mjs")) {
  for (const [signal, status] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ]) {
    process.once(signal, () => {
      endChildren();
      process.exit(status);
    });
  }
  try {
    const { which, plugins } = readSetupFlags(process.argv.slice(2));
    await setup(undefined, plugins, which);
  } catch (error) {
    console.error(error instanceof SetupError ? error.message : error);
    process.exitCode = 1;
  }
}
