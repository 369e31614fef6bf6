import { lastOf, type Command } from "../command.js";
import { CommandError } from "../errors.js";
import { codeText } from "../terminal/errors.js";

/** `nbit consolidate`: a folder of parts becomes a file. */
export const consolidate: Command = {
  name: "consolidate",
  summary: "make one file of a sharded checkpoint",
  usage: "FOLDER [OUT] [--overwrite]",
  about: `Make one whole file of a sharded checkpoint, the folder that several processes saved with stateDictType "sharded". Any number of processes trains on from either; other programs read the file as safetensors. Copies 4 MiB at a time.

  FOLDER  the checkpoint's folder, with its manifest.json
  OUT     the file to write; default: beside the folder, last.ckpt becoming last.consolidated.ckpt`,
  words: { most: 2, what: "a folder, and a file to write", files: true },
  groups: [
    { title: "Flags", flags: new Map([["overwrite", { summary: "replace a file that is there", takes: ["switch"] }]]) },
  ],
  async run({ words, flags }) {
    const [folder, out] = words;
    if (folder === undefined)
      throw new CommandError(
        "ERR_ARGUMENT",
        "nbit consolidate: expected a folder, and a file to write. Received: neither.",
      );
    const { ArgumentError, CheckpointError, consolidateCheckpoint, FileError, SafetensorsError } =
      await import("@nbit/torch");
    try {
      console.log(consolidateCheckpoint(folder, out, { overwrite: lastOf(flags).get("overwrite") === true }));
      return 0;
    } catch (error) {
      const known = [ArgumentError, CheckpointError, FileError, SafetensorsError].find((Kind) => error instanceof Kind);
      if (known === undefined || !(error instanceof known)) throw error;
      const message = error.message.replace(/^(consolidateCheckpoint|ShardedCheckpoint\.open): /, "nbit consolidate: ");
      console.error(codeText(error, message));
      return 1;
    }
  },
};
