import type { Command } from "../command.js";
import { CommandError } from "../errors.js";

/** `nbit xla ops`: what can be compiled. */
export const xla: Command = {
  name: "xla",
  summary: "nbit xla ops: list the operators that can be compiled for TPUs and other devices of XLA's",
  options: new Map(),
  readsArguments: true,
  async run(args) {
    if (args.length !== 1 || args[0] !== "ops")
      throw new CommandError(
        "ERR_ARGUMENTS",
        `nbit xla: expected ops. Received: ${args.length === 0 ? "nothing" : args.join(" ")}.`,
      );
    const { coveredOperators } = await import("@nbit/xla");
    console.log(coveredOperators().join("\n"));
    return 0;
  },
};
