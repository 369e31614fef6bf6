import { existsSync } from "node:fs";
import { findPlugins, pluginFor, XlaPlugin } from "@nbit/xla";
import { AheadDevice, type AheadProgram, type StepDevice } from "@nbit/xla/step";
import type { XLAPlugin } from "./pjrt.js";
import { XLAAccelerator } from "./xla.js";

/** Which plugin compiles for a topology: `cpu:4` is the CPU's, all else libtpu's. */
const platformOf = (topology: string): "cpu" | "tpu" => (topology.startsWith("cpu:") ? "cpu" : "tpu");

/** A plugin that compiles for chips that need not be there. */
class AheadPlugin implements XLAPlugin {
  readonly description: string;
  /** Once steps are compiled; null before. */
  device: AheadDevice | null = null;
  readonly #topology: string;
  readonly #given: string | null;
  readonly #onRun: (programs: readonly AheadProgram[]) => void;

  constructor(topology: string, given: string | null, onRun: (programs: readonly AheadProgram[]) => void) {
    this.description = `${topology}, compiled for without having it`;
    this.#topology = topology;
    this.#given = given;
    this.#onRun = onRun;
  }

  missing(): string | null {
    if (this.#given !== null)
      return existsSync(this.#given) ? null : `the plugin ${this.#given}; there is no such file`;
    const platform = platformOf(this.#topology);
    const places = findPlugins().filter((place) => place.platform === null || place.platform === platform);
    if (places.some(({ path }) => path !== null)) return null;
    return `a PJRT plugin that compiles for ${this.#topology}. Run npx nbit setup ${platform === "tpu" ? "--tpu" : "--xla"}`;
  }

  async open(): Promise<StepDevice> {
    const plugin = await XlaPlugin.load(this.#given ?? pluginFor(platformOf(this.#topology)));
    return (this.device = new AheadDevice(await plugin.topology(this.#topology), this.#onRun));
  }
}

/** Chips that need not be there: steps are compiled for them, and not run. */
export class TopologyAccelerator extends XLAAccelerator {
  override readonly name: string;
  override readonly plugin: AheadPlugin;

  /** @param onRun - Told when a compiled step would run; may throw to end the fit. */
  constructor(topology: string, plugin: string | null, onRun: (programs: readonly AheadProgram[]) => void) {
    super();
    this.name = platformOf(topology) === "tpu" ? "tpu" : "xla";
    this.plugin = new AheadPlugin(topology, plugin, onRun);
  }
}
