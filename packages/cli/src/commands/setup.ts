import { existsSync } from "node:fs";
import type { TorchFlags } from "@nbit/native/setup";
import { lastOf, type Command } from "../command.js";
import { moreOf } from "../terminal/errors.js";

/** In a clone: dependencies, libtorch, addons, TypeScript. In an installed package: libtorch and addons. */
export const setup: Command = {
  name: "setup",
  summary: "fetch libtorch and build what is missing; goes on where an interrupted run stopped",
  usage: "[--cpu|--cuda] [--torch VERSION] [--wheels FOLDER] [--xla] [--tpu]",
  words: { most: 0, what: "flags alone" },
  about:
    "Without flags it takes the libtorch of LIBTORCH, of python3's PyTorch or of the cache, else fetches one: for the " +
    "GPU where there is one that it can use, else for the CPU. What is fetched is shared by all projects, in NBIT_HOME " +
    "or ~/.cache/nbit; nbit clean lists it.",
  groups: [
    {
      title: "Which libtorch",
      flags: new Map([
        ["cpu", { summary: "the build for CPUs (fetches 0.2 GB, keeps 0.4 GB)", takes: ["switch"] }],
        ["cuda", { summary: "the build for NVIDIA's GPUs (fetches 2.8 GB, keeps 4.1 GB)", takes: ["switch"] }],
        ["torch", { summary: "its version: 2.14, 2.14.1 or 2.13.0+cu126", takes: ["text"], value: "VERSION" }],
        [
          "wheels",
          { summary: "take it from a folder of wheels; no network, no Python", takes: ["text"], value: "FOLDER" },
        ],
      ]),
    },
    {
      title: "Plugins",
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
    const [torch, wheels] = [given.get("torch"), given.get("wheels")];
    const which: TorchFlags = {
      cpu: given.get("cpu") === true,
      cuda: given.get("cuda") === true,
      ...(typeof torch === "string" ? { torch } : {}),
      ...(typeof wheels === "string" ? { wheels } : {}),
    };
    try {
      const clone = new URL("../../../../tools/setup.mjs", import.meta.url);
      if (existsSync(clone)) {
        const tools = (await import(clone.href)) as {
          setup(progress?: undefined, plugins?: { cpu: boolean; tpu: boolean }, which?: TorchFlags): Promise<void>;
        };
        await tools.setup(undefined, plugins, which);
      } else {
        await setupNative(which);
        await setupXla(plugins);
      }
    } catch (error) {
      if (!(error instanceof SetupError)) throw error;
      console.error([error.message, ...moreOf(error)].join("\n"));
      return 1;
    }
    console.log("Set up. `nbit doctor` shows what each precision runs on.");
    return 0;
  },
};
