import { existsSync } from "node:fs";
import { findPlugins, mayHaveTpu, pluginFor, XlaPlugin } from "@nbit/xla";
import { PluginDevice, type StepDevice } from "@nbit/xla/step";

/** What differs between plugins. */
export interface XLAPlugin {
  /** Null: usable here; else what is missing, and what to do about it. Asked when a Trainer is made: starts nothing. */
  missing(): string | null;
  /** For people. */
  readonly description: string;
  /** `devices`: how many will be used. */
  open(devices: number): Promise<StepDevice>;
}

/** A PJRT plugin in a file: the one that was given, or that of a platform. */
export class PjrtFile implements XLAPlugin {
  readonly #platform: "cpu" | "tpu";
  readonly #given: string | null;
  /** Clients are kept: a device belongs to one process, and opening it takes seconds. */
  static readonly #open = new Map<string, Promise<StepDevice>>();

  constructor(platform: "cpu" | "tpu", given: string | null) {
    this.#platform = platform;
    this.#given = given;
  }

  get description(): string {
    return this.#platform === "tpu" ? "TPU" : `XLA (${this.#given ?? "the plugin for CPUs"})`;
  }

  missing(): string | null {
    // Before a plugin is looked for: where there is no TPU none will help.
    if (this.#platform === "tpu" && !mayHaveTpu())
      return 'a TPU: this machine shows none (/dev/accel*, /dev/vfio/*). Train on accelerator: "cpu", "cuda" or "xla"; npx nbit explain compiles for one without having it';
    if (this.#given !== null)
      return existsSync(this.#given) ? null : `the plugin ${this.#given}; there is no such file`;
    const places = findPlugins().filter(({ platform }) => platform === null || platform === this.#platform);
    if (places.some(({ path }) => path !== null)) return null;
    const looked = places.map(({ place, found }) => `${place}: ${found}`).join("; ");
    const command = this.#platform === "tpu" ? "npx nbit setup --tpu" : "npx nbit setup --xla";
    return `a PJRT plugin (${looked}). Run ${command}, or use accelerator: "cpu"`;
  }

  open(devices: number): Promise<StepDevice> {
    const path = this.#given ?? pluginFor(this.#platform);
    const isOurs = findPlugins().some((place) => place.platform === "cpu" && place.path === path);
    const key = isOurs ? `${path} ${devices}` : path;
    let opened = PjrtFile.#open.get(key);
    if (opened === undefined) {
      opened = this.#start(path, isOurs && devices > 0 ? { cpu_device_count: devices } : {});
      opened.catch(() => PjrtFile.#open.delete(key)); // the next may find it free
      PjrtFile.#open.set(key, opened);
    }
    return opened;
  }
  async #start(path: string, options: Readonly<Record<string, number>>): Promise<StepDevice> {
    const plugin = await XlaPlugin.load(path);
    return new PluginDevice(await plugin.createClient(options));
  }
}
