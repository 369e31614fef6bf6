import { existsSync } from "node:fs";
import { lastOf, type Command } from "../command.js";

/** In a clone: dependencies, libtorch, addons, TypeScript. In an installed package: libtorch and addons. */
export const setup: Command = {
  name: "setup",
  summary: "fetch libtorch and build what is missing; goes on where an interrupted run stopped",
  usage: "[--xla] [--tpu]",
  words: { most: 0, what: "flags alone" },
  groups: [
    {
      title: "Flags",
      flags: new Map([
        [
          "xla",
          {
            summary: "also build the plugin that runs XLA programs on the CPU (fetches tensorflow-cpu, 0.3 GB)",
            takes: ["switch"],
          },
        ],
        ["tpu", { summary: "also fetch libtpu, which compiles for TPUs and runs on them (0.2 GB)", takes: ["switch"] }],
      ]),
    },
  ],
  async run({ flags }) {
    const { SetupError, setupNative } = await import("@nbit/native/setup");
    const { setupXla } = await import("@nbit/xla/setup");
    const given = lastOf(flags);
    const plugins = { cpu: given.get("xla") === true, tpu: given.get("tpu") === true };
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
