/** What plugins of the version before say under names that have changed. They go with the next version. */
import { warn } from "../warnings.js";
import type { GraphSupport } from "./graph-support.js";
import { LossScaling, NO_LOSS_SCALING } from "./loss-scaling.js";

const warned = new Set<string>();

function former(plugin: object, name: string, now: string): unknown {
  const value: unknown = Reflect.get(plugin, name);
  const type = plugin.constructor.name;
  if (value === undefined || warned.has(`${type}.${name}`)) return value;
  warned.add(`${type}.${name}`);
  warn(
    "WARN_FORMER_NAME",
    `${type}: ${name} is called ${now} now, and is read under its former name in this version only.`,
  );
  return value;
}

/** What a plugin says to CUDA graphs, under former names too. */
export function graphsOf(plugin: { readonly graphs: GraphSupport }): GraphSupport {
  const { graphs } = plugin;
  const reason = former(plugin, "windowObstacle", "graphs.unsupportedReason");
  const begin = former(plugin, "beginReplays", "graphs.beginReplays");
  if (reason === undefined && begin === undefined) return graphs;
  return {
    unsupportedReason: typeof reason === "string" ? reason : graphs.unsupportedReason,
    beginReplays: () => {
      graphs.beginReplays();
      if (typeof begin === "function") Reflect.apply(begin, plugin, []);
    },
  };
}

/** How a plugin scales losses, where it says so under former names too: it has its own `lossScale`, or checks outcomes. */
export function scalingOf(plugin: ScalingPlugin): LossScaling {
  const check = former(plugin, "checkOutcome", "scaling.checkOutcome");
  if (check === undefined && (plugin.scaling !== NO_LOSS_SCALING || plugin.lossScale === null)) return plugin.scaling;
  return new FormerScaling(plugin, check);
}
interface ScalingPlugin {
  readonly scaling: LossScaling;
  readonly lossScale: number | null;
  readonly skippedSteps: number;
  readonly lastStepSkipped: boolean;
}
class FormerScaling extends LossScaling {
  readonly #plugin: ScalingPlugin;
  readonly #check: unknown;

  constructor(plugin: ScalingPlugin, check: unknown) {
    super();
    this.#plugin = plugin;
    this.#check = check;
  }
  override get scale(): number | null {
    return this.#plugin.lossScale;
  }
  override get skipsOverflow(): boolean {
    return this.scale !== null;
  }
  override get skippedSteps(): number {
    return this.#plugin.skippedSteps;
  }
  override get lastStepSkipped(): boolean {
    return this.#plugin.lastStepSkipped;
  }
  override checkOutcome(due: boolean): void {
    if (typeof this.#check === "function") Reflect.apply(this.#check, this.#plugin, [due]);
  }
}

/** A plugin's `lossScaling` and `modulePrecisions`, where it has them. */
export function formerDescription(plugin: object): {
  readonly lossScaling?: string;
  readonly modules?: readonly (readonly [name: string, precision: string])[];
} {
  const lossScaling = former(plugin, "lossScaling", "lossScaling of describe()");
  const modules = former(plugin, "modulePrecisions", "modules of describe()");
  return { ...(typeof lossScaling === "string" ? { lossScaling } : {}), ...(isPairs(modules) ? { modules } : {}) };
}

function isPairs(value: unknown): value is readonly (readonly [string, string])[] {
  return (
    Array.isArray(value) &&
    value.every((pair) => Array.isArray(pair) && pair.length === 2 && pair.every((text) => typeof text === "string"))
  );
}
