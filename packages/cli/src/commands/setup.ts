import { existsSync } from "node:fs";
import { SetupError, setupNative } from "@nbit/native/setup";
import type { Command } from "../command.js";

/** In a clone: dependencies, libtorch, addon, TypeScript. In an installed package: libtorch and addon. */
export const setup: Command = {
  name: "setup",
  summary: "fetch libtorch and build what is missing; goes on where an interrupted run stopped",
  options: new Map(),
  async run() {
    try {
      const clone = new URL("../../../../tools/setup.mjs", import.meta.url);
      if (existsSync(clone)) {
        const tools = (await import(clone.href)) as { setup(): Promise<void> };
        await tools.setup();
      } else await setupNative();
    } catch (error) {
      if (!(error instanceof SetupError)) throw error;
      console.error(error.message);
      return 1;
    }
    console.log("Set up. `nbit doctor` shows what each precision runs on.");
    return 0;
  },
};
