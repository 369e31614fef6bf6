import type { Command } from "../command.js";
import { CommandError } from "../errors.js";

/** `nbit xla ops`: what can be compiled. */
export const xla: Command = {
  name: "xla",
  summary: "list the operators that can be compiled for TPUs and other devices of XLA's",
  usage: "ops",
  words: { most: 1, what: "ops", choices: ["ops"] },
  groups: [],
  async run({ words }) {
    if (words[0] !== "ops")
      throw new CommandError("ERR_ARGUMENTS", `nbit xla: expected ops. Received: ${words[0] ?? "nothing"}.`);
    const { coveredOperators } = await import("@nbit/xla");
    console.log(coveredOperators().join("\n"));
    return 0;
  },
};
