/** The flags of set-up where the command line's own reader is not compiled yet: in a clone, and before the first build. */
import { parseArgs } from "node:util";
import { SetupError } from "./errors.mjs";
import { setupWith } from "./torch-choice.mjs";

const FLAGS = {
  cpu: { type: "boolean" },
  cuda: { type: "boolean" },
  torch: { type: "string" },
  wheels: { type: "string" },
  xla: { type: "boolean" },
  tpu: { type: "boolean" },
};

/**
 * @param {readonly string[]} args
 * @returns {{ which: import("./setup.d.mts").TorchFlags, plugins: { cpu: boolean, tpu: boolean } }}
 * @throws {SetupError} NBIT_SETUP_FLAGS
 */
export function readSetupFlags(args) {
  let values;
  try {
    ({ values } = parseArgs({ args: [...args], options: FLAGS, strict: true, allowPositionals: false }));
  } catch (error) {
    throw new SetupError("NBIT_SETUP_FLAGS", {
      problem: `set-up takes ${Object.entries(FLAGS)
        .map(([name, { type }]) => `--${name}${type === "string" ? " VALUE" : ""}`)
        .join(", ")}. ${error.message.split(". ")[0]}.`,
      fix: setupWith("--torch 2.14"),
    });
  }
  const { xla = false, tpu = false, ...which } = values;
  return { which: { ...which }, plugins: { cpu: xla, tpu } };
}
