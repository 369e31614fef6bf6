import type { Command } from "../command.js";
import { CommandError } from "../errors.js";

const HELP = `Usage: nbit consolidate FOLDER [OUT] [--overwrite]

Make one whole file of a sharded checkpoint, the folder that several processes saved with stateDictType "sharded". Any
number of processes trains on from either; other programs read the file as safetensors. Copies 4 MiB at a time.

  FOLDER         the checkpoint's folder, with its manifest.json
  OUT            the file to write; default: beside the folder, last.ckpt becoming last.consolidated.ckpt
  --overwrite    replace a file that is there`;

/** `nbit consolidate`: a folder of parts becomes a file. */
export const consolidate: Command = {
  name: "consolidate",
  summary: "make one file of a sharded checkpoint: nbit consolidate FOLDER [OUT]",
  options: new Map([["--overwrite", "replace a file that is there"]]),
  readsArguments: true,
  async run(args) {
    if (args.some((arg) => arg === "--help" || arg === "-h")) {
      console.log(HELP);
      return 0;
    }
    const flags = args.filter((arg) => arg.startsWith("-"));
    const unknown = flags.find((arg) => arg !== "--overwrite");
    if (unknown !== undefined)
      throw new CommandError(
        "ERR_FLAG",
        `nbit consolidate: expected no flag but --overwrite. Received: ${unknown}. \`nbit consolidate --help\` says more.`,
      );
    const [folder, out, ...more] = args.filter((arg) => !arg.startsWith("-"));
    if (folder === undefined || more.length > 0)
      throw new CommandError(
        "ERR_ARGUMENT",
        `nbit consolidate: expected a folder, and a file to write. Received: ${folder === undefined ? "neither" : `${more.join(" ")}, too`}.`,
      );
    const { ArgumentError, CheckpointError, consolidateCheckpoint, FileError, SafetensorsError } =
      await import("@nbit/torch");
    try {
      console.log(consolidateCheckpoint(folder, out, { overwrite: flags.length > 0 }));
      return 0;
    } catch (error) {
      const known = [ArgumentError, CheckpointError, FileError, SafetensorsError].find((Kind) => error instanceof Kind);
      if (known === undefined || !(error instanceof known)) throw error;
      const message = error.message.replace(/^(consolidateCheckpoint|ShardedCheckpoint\.open): /, "nbit consolidate: ");
      console.error(`${error.code}: ${message}`);
      return 1;
    }
  },
};
