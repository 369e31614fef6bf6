import type { LaunchOptions } from "@nbit/torch/distributed/run";
import { ArgumentError } from "@nbit/torch/files"; // loads no libtorch
import type { Command } from "../command.js";
import { CommandError } from "../errors.js";
import { namingFlags, parseRunFlags, runFlagLines } from "../launch/flags.js";
import { findFile } from "../run/file.js";

const help = (): string => `Usage: nbit run -n N [--flag value]… SCRIPT [argument]…

Run a script (.js, .mjs, .ts, .mts) once per rank, to train in several processes: new Trainer({ devices: N }) in it
takes part in them. When one fails, all end; its error stands last. Arguments after the script are its own.

${runFlagLines().join("\n")}

What is not given is read from torchrun's variables, where they are set: PET_NPROC_PER_NODE, PET_NNODES, PET_NODE_RANK,
PET_MASTER_ADDR, PET_MASTER_PORT, PET_MAX_RESTARTS.`;

/** `nbit run`: starts the ranks of this machine. */
export const run: Command = {
  name: "run",
  summary: "run a script in several processes: nbit run -n 2 SCRIPT; --help lists the flags",
  options: new Map(),
  readsArguments: true,
  async run(args) {
    const parsed = parseRunFlags(args, process.env);
    if (parsed.help) {
      console.log(help());
      return 0;
    }
    const script = findFile("run", parsed.script);
    const { n } = parsed.options;
    if (typeof n !== "number" || n < 1)
      throw new CommandError(
        "ERR_FLAG_VALUE",
        `nbit run: expected -n to be how many processes to run, ≥ 1. Received: ${n === undefined ? "none" : String(n)}.`,
      );
    const flags = script.endsWith("ts")
      ? [`--import=${new URL("../launch/typescript-preload.js", import.meta.url).href}`]
      : [];
    const { launch } = await import("@nbit/torch/distributed/run");
    const options: LaunchOptions = Object.assign({ n }, parsed.options);
    try {
      return await launch([process.execPath, ...process.execArgv, ...flags, script, ...parsed.args], options);
    } catch (error) {
      // All of them are about how it was called: nothing has started.
      if (!(error instanceof ArgumentError)) throw error;
      throw new CommandError(error.code, namingFlags(error.message.replace(/^launch: /, "nbit run: ")));
    }
  },
};
