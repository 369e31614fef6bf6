import type { LaunchOptions } from "@nbit/torch/distributed/run";
import { ArgumentError } from "@nbit/torch/messages"; // loads no libtorch
import type { Command } from "../command.js";
import { CommandError } from "../errors.js";
import { LAUNCH_FLAGS, launchOptions, namingFlags } from "../launch/flags.js";
import { findFile } from "../run/file.js";

/** `nbit run`: starts the ranks of this machine. */
export const run: Command = {
  name: "run",
  summary: "run a script in several processes, one per rank",
  usage: "-n N [--flag value]… SCRIPT [argument]…",
  about:
    "Run a script (.js, .mjs, .ts, .mts) once per rank, to train in several processes: new Trainer({ devices: N }) in it takes part in them. When one fails, all end; its error stands last. Arguments after the script are its own.",
  notes:
    "What is not given is read from torchrun's variables, where they are set: PET_NPROC_PER_NODE, PET_NNODES, PET_NODE_RANK, PET_MASTER_ADDR, PET_MASTER_PORT, PET_MAX_RESTARTS.",
  words: { most: 1, what: "a script", files: true },
  passesOn: true,
  groups: [{ title: "Flags before the script", flags: LAUNCH_FLAGS }],
  async run(call) {
    const script = findFile("run", call.words[0] ?? null);
    const given = launchOptions(call, process.env);
    const { n } = given;
    if (typeof n !== "number" || n < 1)
      throw new CommandError(
        "ERR_FLAG_VALUE",
        `nbit run: expected -n to be how many processes to run, ≥ 1. Received: ${n === undefined ? "none" : String(n)}.`,
      );
    const { TYPESCRIPT_PRELOAD } = await import("../run/typescript.js");
    const flags = script.endsWith("ts") ? [TYPESCRIPT_PRELOAD] : [];
    const { launch } = await import("@nbit/torch/distributed/run");
    const options: LaunchOptions = Object.assign({ n }, given);
    try {
      return await launch([process.execPath, ...process.execArgv, ...flags, script, ...call.rest], options);
    } catch (error) {
      // All of them are about how it was called: nothing has started.
      if (!(error instanceof ArgumentError)) throw error;
      throw new CommandError(error.code, namingFlags(error.message.replace(/^launch: /, "nbit run: ")));
    }
  },
};
