/** What a call of `nbit explain` asks. */
import { lastOf, type Call } from "../command.js";
import { CommandError } from "../errors.js";
import { findFile } from "../run/file.js";
import { settingsOf, textOf } from "../run/settings.js";
import type { Asked } from "./rehearsals.js";

const DEFAULT_TOPOLOGIES: ReadonlyMap<unknown, string> = new Map([
  ["tpu", "v5e:1x1"],
  ["xla", "cpu:1"],
]);

/** @throws {CommandError} As `settingsOf`, and `ERR_FLAG_VALUE`. */
export function askedOf(call: Call): Asked {
  const settings = settingsOf(call, process.env);
  const flags = lastOf(call.flags);
  const file = textOf("explain", settings, "file");
  const path = findFile("explain", file);
  const accelerator = settings.trainer.get("accelerator");
  const given = flags.get("topology");
  const topology = (typeof given === "string" ? given : undefined) ?? DEFAULT_TOPOLOGIES.get(accelerator) ?? null;
  const platform = topology?.startsWith("cpu:") === true ? "xla" : "tpu";
  if (topology !== null && accelerator !== undefined && accelerator !== platform)
    throw new CommandError(
      "ERR_FLAG_VALUE",
      `nbit explain: expected --accelerator ${platform} with --topology ${topology}. Received: ${String(accelerator)}.`,
    );
  const plugin = flags.get("plugin");
  const options = new Map(settings.trainer);
  if (topology !== null) options.delete("accelerator");
  return {
    path,
    file: file ?? path,
    arguments: call.rest,
    topology,
    plugin: typeof plugin === "string" ? plugin : null,
    json: flags.get("json") === true,
    settings: { ...settings, trainer: options },
  };
}
