/** What `nbit fit` and its like do. Loads libtorch once the settings are known to be good. */
import type { Call } from "../command.js";
import { lastOf } from "../command.js";
import { CommandError } from "../errors.js";
import type { Settings } from "../settings/settle.js";
import type { RunKind } from "./execute.js";
import { open } from "./open.js";
import { settingsOf, switchOf, textOf } from "./settings.js";

export async function run(kind: RunKind, call: Call): Promise<number> {
  const settings = settingsOf(call, process.env);
  const flags = lastOf(call.flags);
  const printsConfig = flags.get("print-config") === true;
  const output = textOf(kind, settings, "output");
  if (kind === "predict" && output !== null) (await import("../output/formats.js")).checkOutput(output);
  if (kind !== "fit" && !printsConfig) checkWeights(kind, settings);
  const { program, file, seed } = await open(kind, settings);
  const { prepare, sharingSeed } = await import("../program/prepare.js");
  const { configHeader } = await import("../program/header.js");
  const { configText, configTemplate } = await import("../settings/dump.js");
  const { SaveConfigCallback } = await import("../program/save-config.js");
  const stream = kind === "predict" && output !== null ? (await import("../output/stream.js")).streamTo(output) : null;
  const streams = stream === null ? [] : [stream];
  const prepared = await prepare(
    settings,
    {
      command: kind,
      file,
      ...program,
      callbacks: (config) =>
        kind === "fit" ? [new SaveConfigCallback(() => configText(config(), configHeader(call.args)))] : streams,
    },
    seed,
  );
  if (printsConfig) {
    // One that was drawn for this call is no setting of the next.
    const { seed: _drawn, ...config } = prepared.config;
    console.log(configTemplate(settings.own.has("seed") ? prepared.config : config).trimEnd());
    return 0;
  }
  if (kind !== "fit" && prepared.ckptPath === null && prepared.askedCkptPath !== null)
    throw noCheckpoint(
      kind,
      `${prepared.askedCkptPath}, and no run has left a checkpoint below ${prepared.trainer.defaultRootDir}`,
    );
  const { execute } = await import("./execute.js");
  return sharingSeed(seed, String(flags.get("env-prefix") ?? "NBIT"), () =>
    execute({ ...prepared, kind, call, program, output }),
  );
}

/** @throws {CommandError} `ERR_NO_CHECKPOINT`: nothing says whose weights are meant. */
function checkWeights(kind: RunKind, settings: Settings): void {
  const given = textOf(kind, settings, "ckptPath");
  const initial = switchOf(kind, settings, "initialWeights");
  if (given === null && !initial)
    throw noCheckpoint(kind, "none, so that weights would be those that the file makes: random ones, most likely");
  if (given !== null && initial)
    throw new CommandError("ERR_FLAG", `nbit ${kind}: expected --ckptPath or --initialWeights. Received: both.`);
}

function noCheckpoint(kind: RunKind, received: string): CommandError {
  return new CommandError(
    "ERR_NO_CHECKPOINT",
    `nbit ${kind}: expected --ckptPath to name a checkpoint whose weights to use. Received: ${received}. Pass --ckptPath last, best or a file; or --initialWeights to use what the file makes.`,
  );
}
