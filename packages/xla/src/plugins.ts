import { atMost, checkArguments, kinds } from "@nbit/torch/options";
import { pluginPlaces } from "../lib/places.mjs";
import { XlaError } from "./errors.js";

/** Where a plugin was looked for, and what was there. */
export interface PluginPlace {
  /** What it would run on; null where nobody knows before it is loaded. */
  readonly platform: "cpu" | "tpu" | null;
  readonly place: string;
  readonly found: string;
  /** The file, where there is one. */
  readonly path: string | null;
}

/**
 * Every place where plugins are looked for, in order: `PJRT_PLUGIN_LIBRARY_PATH`, what `nbit setup --xla` and `--tpu`
 * made, Python's libtpu. Loads nothing; tens of milliseconds, since it asks Python.
 */
export function findPlugins(): readonly PluginPlace[] {
  atMost("findPlugins", arguments, 0);
  return pluginPlaces();
}

/**
 * The path of the plugin for a platform: a variable `PJRT_PLUGIN_LIBRARY_PATH` goes before all others.
 * @throws {XlaError} `XLA_NO_PLUGIN`, with every place that was looked at and the command that sets one up.
 */
export function pluginFor(platform: "cpu" | "tpu"): string {
  atMost("pluginFor", arguments, 1);
  checkArguments("pluginFor", { platform }, { platform: kinds.oneOf("cpu", "tpu") });
  const places = pluginPlaces().filter((each) => each.platform === null || each.platform === platform);
  const path = places.find((each) => each.path !== null)?.path;
  if (path != null) return path;
  const looked = places.map(({ place, found }) => `  ${place}: ${found}`).join("\n");
  const command = platform === "cpu" ? "npx nbit setup --xla" : "npx nbit setup --tpu";
  throw new XlaError(`no PJRT plugin for ${platform}. Looked at:\n${looked}\nFix: ${command}`, "XLA_NO_PLUGIN");
}
