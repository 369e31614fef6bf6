/** What plugins of the version before say under names that have changed. They go with the next version. */
import { warn } from "../warnings.js";

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

/** A plugin's `windowObstacle`, where it has one. */
export function formerGraphReason(plugin: object): string | null {
  const reason = former(plugin, "windowObstacle", "graphUnsupportedReason");
  return typeof reason === "string" ? reason : null;
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
