import { plainText } from "@nbit/torch/messages";
import type { Command, Flags } from "../command.js";
import { codeText } from "../terminal/errors.js";
import { CONFIG_FLAGS, PARTS_FLAGS, SECTIONS, trainerGroups, VERBOSE } from "../run/flags.js";

const OWN: Flags = new Map([
  [
    "topology",
    {
      summary: "chips to compile for, which need not be there",
      takes: ["text"],
      value: "NAME",
      values: "v5e:2x4, v4:2x2x1, v6e:4x4 with nbit setup --tpu, or cpu:4 with nbit setup --xla",
      otherwise: "one chip, v5e:1x1 or cpu:1",
    },
  ],
  ["plugin", { summary: "the plugin that compiles", takes: ["text"], value: "FILE", otherwise: "what set-up made" }],
  ["json", { summary: "print data", takes: ["switch"] }],
]);

/** `nbit explain`: the step of a program, without training. */
export const explain: Command = {
  name: "explain",
  summary: "say what a program's step takes, on chips that need not be there",
  usage: "FILE [--accelerator tpu] [--topology v5e:2x4] [--flag value]… [-- argument…]",
  about: `Run a program up to its trainer.fit, say what it would do, and end without training. FILE is a program that calls trainer.fit, or a module as nbit fit takes it. Arguments after -- are the program's own.

Without an accelerator: what trainer.precision.explain() says of the program's own Trainer.

With --accelerator tpu or xla, or --topology: one step runs on the host, the next is recorded and compiled for chips that need not be there. Printed are the memory that it takes on each, FLOPs, collectives. The batch is split among the chips; --strategy fsdp splits parameters and optimizer state, too.`,
  words: { most: 1, what: "one file", files: true },
  sections: SECTIONS,
  takesRest: true,
  groups: [
    { title: "What is explained", flags: OWN },
    { title: "Settings before the program's own", flags: CONFIG_FLAGS },
    { title: "Parts", flags: PARTS_FLAGS },
    ...trainerGroups(),
    { title: "This command", flags: VERBOSE },
  ],
  async run(call) {
    const { askedOf } = await import("../explain/asked.js");
    const asked = askedOf(call);
    const { rehearsed } = await import("../explain/rehearsals.js"); // loads libtorch
    try {
      const said = await rehearsed(asked);
      console.log(asked.json ? JSON.stringify(said, null, 2) : plainText(said.toString(), "\n"));
      return 0;
    } catch (error) {
      // The compiler's own words, or an operator with the user's line: a stack says nothing more.
      if (!(error instanceof Error) || error.name !== "XlaError" || !("code" in error)) throw error;
      console.error(codeText(error));
      return 1;
    }
  },
};
