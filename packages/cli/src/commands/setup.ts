import { existsSync } from "node:fs";
import { SetupError, setupNative } from "@nbit/native/setup";
import { setupXla } from "@nbit/xla/setup";
import type { Command } from "../command.js";

/** In a clone: dependencies, libtorch, addons, TypeScript. In an installed package: libtorch and addons. */
export const setup: Command = {
  name: "setup",
  summary: "fetch libtorch and build what is missing; goes on where an interrupted run stopped",
  options: new Map([
    ["--xla", "also build the plugin that runs XLA programs on the CPU (fetches tensorflow-cpu, 0.3 GB)"],
    ["--tpu", "also fetch libtpu, which compiles for TPUs and runs on them (0.2 GB)"],
  ]),
  async run(args) {
    const plugins = { cpu: args.includes("--xla"), tpu: args.includes("--tpu") };
    try {
      const clone = new URL("../../../../tools/setup.mjs", import.meta.url);
      if (existsSync(clone)) {
        const tools = (await import(clone.href)) as {
          setup(progress?: undefined, plugins?: { cpu: boolean; tpu: boolean }): Promise<void>;
        };
        await tools.setup(undefined, plugins);
      } else {
        await setupNative();
        await setupXla(plugins);
      }
    } catch (error) {
      if (!(error instanceof SetupError)) throw error;
      console.error(error.message);
      return 1;
    }
    console.log("Set up. `nbit doctor` shows what each precision runs on.");
    return 0;
  },
};
