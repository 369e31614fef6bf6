import { existsSync, statSync } from "node:fs";
import { basename, resolve } from "node:path";
import { ArgumentError } from "@nbit/torch/files";
import { atMost, checkArguments, kinds } from "@nbit/torch/options";
import { environmentFor } from "../lib/environment.mjs";
import { XlaClient } from "./client.js";
import { isOption, pairsOf } from "./devices.js";
import { hostCpu } from "./host-cpu.js";
import { addon, type Handle, type NativeValue } from "./native.js";
import { topologyOptions } from "./topology-options.js";
import { XlaTopology } from "./topology.js";

/** Options of a plugin's own, by name: text, numbers (whole ones as int64), flags, lists of whole numbers. */
export type PluginOptions = Readonly<Record<string, NativeValue>>;

/**
 * A PJRT plugin: a shared library that compiles and runs programs on one kind of device. Several may be loaded; each file
 * once in a process, for good.
 */
export class XlaPlugin {
  readonly path: string;
  /** Of the PJRT API that it speaks; 0.x of any x fits. */
  readonly apiVersion: { readonly major: number; readonly minor: number };
  /** What it tells of itself, `xla_version` for example. */
  readonly attributes: ReadonlyMap<string, NativeValue>;
  /** Entries of the API that nbit uses and this plugin lacks: what needs one is `XLA_UNIMPLEMENTED`. */
  readonly missing: readonly string[];
  readonly #handle: Handle<"plugin">;

  private constructor(handle: Handle<"plugin">) {
    const { path, major, minor, attributes, missing } = addon().pluginInfo(handle);
    this.#handle = handle;
    this.path = path;
    this.apiVersion = Object.freeze({ major, minor });
    this.attributes = new Map(attributes);
    this.missing = Object.freeze([...missing]);
  }

  /**
   * Load a plugin. It runs code of the library's: load what you trust. Seconds for libtpu, off the JavaScript thread.
   *
   * For libtpu on a machine without TPUs the variables that keep it from asking the cloud for minutes are set first,
   * unless they are: `TPU_SKIP_MDS_QUERY` and its like.
   *
   * @throws {XlaError} `XLA_NO_PLUGIN` (no such file), `XLA_PLUGIN_BROKEN` (it does not load), `XLA_NOT_A_PLUGIN`,
   * `XLA_PLUGIN_VERSION` (another major version of the API), or what its own initialization says.
   */
  static async load(path: string): Promise<XlaPlugin> {
    atMost("XlaPlugin.load", arguments, 1);
    checkArguments("XlaPlugin.load", { path }, { path: kinds.filled });
    if (path.includes("\0")) throw new ArgumentError("XlaPlugin.load", "path to be a file's path", path);
    const full = resolve(path);
    return new XlaPlugin(await addon().load(full, environmentFor(full)));
  }

  /**
   * Open its devices. On a machine with TPUs one process at a time can have them.
   * @throws {XlaError} The plugin's reason: no device, busy, an option that it does not know; `XLA_NO_DEVICE`.
   */
  async createClient(settings: PluginOptions = {}): Promise<XlaClient> {
    atMost("createClient", arguments, 1);
    const handle = await addon().createClient(this.#handle, pairsOf(checked("createClient", settings)));
    return new XlaClient({ handle, identity: this.#identity() });
  }

  /**
   * Chips to compile for: `v5e:2x4`, `v4:2x2x1`, `v6e:4x4` with libtpu, `cpu:4` with the CPU plugin. None need be there.
   * @throws {XlaError} The plugin's reason.
   */
  async topology(name: string, settings: PluginOptions = {}): Promise<XlaTopology> {
    atMost("topology", arguments, 2);
    checkArguments("topology", { name }, { name: kinds.filled });
    const all = { ...topologyOptions(this.path, name), ...checked("topology", settings) };
    return new XlaTopology(await addon().createTopology(this.#handle, name, pairsOf(all)), name);
  }

  /** Which build of a plugin a compiled program belongs to. */
  #identity(): string {
    const file = existsSync(this.path) ? statSync(this.path) : null;
    const { major, minor } = this.apiVersion;
    const attributes = [...this.attributes].map(([name, value]) => `${name}=${String(value)}`);
    return [basename(this.path), file?.size, file?.mtimeMs, major, minor, ...attributes, hostCpu()].join("\n");
  }
}

function checked(fn: string, settings: PluginOptions): PluginOptions {
  checkArguments(fn, { settings }, { settings: kinds.record });
  for (const [name, value] of Object.entries(settings))
    if (!isOption(value))
      throw new ArgumentError(fn, `option ${name} to be a string, a number, a flag or whole numbers`, value);
  return settings;
}
