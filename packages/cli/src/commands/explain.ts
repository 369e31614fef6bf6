import { plainText } from "@nbit/torch/files";
import type { Command } from "../command.js";
import { CommandError } from "../errors.js";
import type { Asked } from "../explain/rehearsals.js";
import { findFile } from "../run/file.js";
import { parseFlags } from "../run/flags.js";

const help = `Usage: nbit explain FILE [--accelerator tpu] [--topology v5e:2x4] [--flag value]… [-- argument…]

Run a program up to its trainer.fit, say what it would do, and end without training. FILE is a program that calls
trainer.fit, or a module as nbit fit takes it. Arguments after -- are the program's own.

Without an accelerator: what trainer.precision.explain() says of the program's own Trainer.

With --accelerator tpu or xla, or --topology: one step runs on the host, the next is recorded and compiled for chips
that need not be there. Printed are the memory that it takes on each, FLOPs, collectives. The batch is split among the
chips; --strategy fsdp splits parameters and optimizer state, too.

  --topology NAME   v5e:2x4, v4:2x2x1, v6e:4x4 (npx nbit setup --tpu), or cpu:4 (npx nbit setup --xla);
                    default: one chip, v5e:1x1 or cpu:1
  --plugin FILE     the plugin that compiles; default: what set-up made
  --json            print data
  --precision, --strategy and the other flags of nbit fit go before the program's own options`;

/** `nbit explain`: the step of a program, without training. */
export const explain: Command = {
  name: "explain",
  summary: "say what a program's step takes, on chips that need not be there: nbit explain FILE; --help says more",
  options: new Map(),
  readsArguments: true,
  async run(args) {
    const asked = parse(args);
    if (asked === null) {
      console.log(help);
      return 0;
    }
    const { rehearsed } = await import("../explain/rehearsals.js"); // loads libtorch: not for --help
    try {
      const said = await rehearsed(asked);
      console.log(asked.json ? JSON.stringify(said, null, 2) : plainText(said.toString(), "\n"));
      return 0;
    } catch (error) {
      // The compiler's own words, or an operator with the user's line: a stack says nothing more.
      if (!(error instanceof Error) || error.name !== "XlaError" || !("code" in error)) throw error;
      console.error(plainText(`${String(error.code)}: ${error.message}`, "\n"));
      return 1;
    }
  },
};

const DEFAULT_TOPOLOGIES: ReadonlyMap<unknown, string> = new Map([
  ["tpu", "v5e:1x1"],
  ["xla", "cpu:1"],
]);

/** Null: help is asked for. @throws {CommandError} As `parseFlags`, and `ERR_FLAG_VALUE`. */
function parse(args: readonly string[]): Asked | null {
  const end = args.indexOf("--");
  const own = end === -1 ? args : args.slice(0, end);
  const { rest, values, json } = takeOwn(own);
  const { file, help: helps, trainer, seed, ckptPath } = parseFlags("explain", rest);
  if (helps) return null;
  if (ckptPath !== null)
    throw new CommandError("ERR_FLAG", "nbit explain: expected no --ckptPath. A checkpoint changes no program.");
  const path = findFile("explain", file);
  const { accelerator, ...others } = trainer;
  const topology = values.get("topology") ?? DEFAULT_TOPOLOGIES.get(accelerator) ?? null;
  const platform = topology?.startsWith("cpu:") === true ? "xla" : "tpu";
  if (topology !== null && accelerator !== undefined && accelerator !== platform)
    throw new CommandError(
      "ERR_FLAG_VALUE",
      `nbit explain: expected --accelerator ${platform} with --topology ${topology}. Received: ${String(accelerator)}.`,
    );
  return {
    path,
    file: file ?? path,
    arguments: end === -1 ? [] : args.slice(end + 1),
    seed,
    topology,
    plugin: values.get("plugin") ?? null,
    json,
    trainer: topology === null ? trainer : others,
  };
}

/** What `nbit fit` does not know. */
function takeOwn(args: readonly string[]): { rest: string[]; values: Map<string, string>; json: boolean } {
  const rest: string[] = [];
  const values = new Map<string, string>();
  let json = false;
  const left = [...args];
  for (let arg = left.shift(); arg !== undefined; arg = left.shift()) {
    const [, name, text] = /^--(topology|plugin)(?:=(.*))?$/s.exec(arg) ?? [];
    if (arg === "--json") json = true;
    else if (name === undefined) rest.push(arg);
    else {
      const value = text ?? left.shift() ?? "";
      if (value === "" || value.startsWith("-"))
        throw new CommandError(
          "ERR_FLAG_VALUE",
          `nbit explain: expected a value after --${name}. Received: ${value === "" ? "nothing" : value}.`,
        );
      values.set(name, value);
    }
  }
  return { rest, values, json };
}
