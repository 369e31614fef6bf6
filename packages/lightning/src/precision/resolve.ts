import { words } from "@nbit/torch";
import type { Accelerator } from "../accelerators/accelerator.js";
import { MisconfigurationError } from "../errors.js";
import { warn, WarnOnce } from "../warnings.js";
import { Float8Precision } from "./float8.js";
import { isTrue, parsePrecision } from "./names.js";
import type { PrecisionName } from "./names.js";
import { Precision } from "./precision.js";
import { AMP_LEVELS, ampBackends, createPrecision } from "./registry.js";
import type { AmpLevel } from "./registry.js";

/** The Trainer's options that concern precision. Undefined: not given. */
export interface PrecisionSettings {
  readonly precision: unknown;
  readonly ampBackend: unknown;
  readonly ampLevel: unknown;
  readonly plugins: readonly unknown[];
  readonly accelerator: Accelerator;
  readonly deviceIndex: number;
}

/**
 * From options to a plugin: every error and warning about precision is given here, when a Trainer is constructed.
 *
 * @throws {MisconfigurationError} for an unknown spelling, a backend or level that does not exist, bfloat16 or a true precision
 * with apex, a level without apex, float64 or apex on a TPU, a precision given both as option and as plugin, and a plugin that is none, or that the device does not have.
 */
export function resolvePrecision(settings: PrecisionSettings): Precision {
  const plugin = findPlugin(settings);
  if (plugin !== null) {
    if (plugin instanceof Float8Precision) warnIfSlow(plugin.name, settings.accelerator, settings.deviceIndex);
    return attach(plugin, settings, null, ["a plugin was given"]);
  }

  const { accelerator, deviceIndex } = settings;
  const reasons: string[] = [];
  const asked = settings.precision === undefined ? null : parsePrecision(settings.precision);
  const backend = checkBackend(settings, asked);
  let name = asked === "auto" ? chooseFor(accelerator, deviceIndex, reasons) : (asked ?? (backend === "apex" ? "16-mixed" : "32-true"));
  if (asked === null && backend === "native") reasons.push("32-true is the default");

  const mapped = accelerator.mapPrecision?.(name);
  if (mapped !== undefined) {
    if (mapped.name !== name) {
      if (backend !== "native") throw new MisconfigurationError("Trainer", `an accelerator that has ${name} with ampBackend: ${JSON.stringify(backend)}`, accelerator.name, "Remove ampBackend, or use another accelerator.", "ERR_PRECISION_APEX");
      reasons.push(`${accelerator.name} has no ${name}`);
    }
    name = mapped.name;
    if (mapped.warning !== undefined) warn("WARN_PRECISION_MAPPED", mapped.warning);
  }
  requireAccelerator(accelerator);
  warnIfSlow(name, accelerator, deviceIndex);

  const ampLevel = backend === "native" ? null : ((settings.ampLevel as AmpLevel | undefined) ?? "O2");
  if (ampLevel !== null) reasons.push(`ampBackend ${JSON.stringify(backend)} at level ${ampLevel}`);
  const precision = createPrecision({ name, deviceType: accelerator.device(deviceIndex).type, ampLevel }, backend);
  return attach(precision, settings, settings.precision ?? null, reasons);
}

function requireAccelerator(accelerator: Accelerator): void {
  const missing = accelerator.missing();
  if (missing === null) return;
  throw new MisconfigurationError("Trainer", `accelerator ${JSON.stringify(accelerator.name)} to be usable here`, words("an accelerator that is not"), `Missing: ${missing}.`, "ERR_ACCELERATOR_UNAVAILABLE");
}

function attach(precision: Precision, settings: PrecisionSettings, requested: unknown, reasons: readonly string[]): Precision {
  precision.context = { requested, reasons, accelerator: settings.accelerator, deviceIndex: settings.deviceIndex };
  return precision;
}

function findPlugin(settings: PrecisionSettings): Precision | null {
  const plugins = settings.plugins.map((p) => {
    if (p instanceof Precision) return p;
    throw new MisconfigurationError("Trainer", "plugins to be precision plugins, such as new MixedPrecision()", p, typeof p === "string" || typeof p === "number" ? "Give the name of a precision as precision." : undefined, "ERR_PRECISION_PLUGIN");
  });
  const [plugin, second] = plugins;
  if (plugin === undefined) return null;
  if (second !== undefined) {
    throw new MisconfigurationError("Trainer", "at most one precision plugin", plugins.map((p) => p.constructor.name).join(", "), undefined, "ERR_PRECISION_TWICE");
  }
  if (settings.precision !== undefined) {
    throw new MisconfigurationError("Trainer", "precision as an option or as a plugin, not both", words(`precision: ${JSON.stringify(settings.precision)} and ${plugin.constructor.name}`), "Remove one of them.", "ERR_PRECISION_TWICE");
  }
  if (settings.ampBackend !== undefined || settings.ampLevel !== undefined) {
    throw new MisconfigurationError("Trainer", "neither ampBackend nor ampLevel beside a precision plugin", settings.ampBackend ?? settings.ampLevel, "Remove it, or the plugin.", "ERR_PRECISION_TWICE");
  }
  const { accelerator, deviceIndex } = settings;
  const mapped = accelerator.mapPrecision?.(plugin.name);
  if (mapped !== undefined && mapped.name !== plugin.name) {
    throw new MisconfigurationError("Trainer", `a precision that ${accelerator.name} has`, words(`${plugin.constructor.name} in ${plugin.name}`), `Give a plugin in ${mapped.name}.`, "ERR_PRECISION_PLUGIN");
  }
  requireAccelerator(accelerator);
  plugin.onDevice(accelerator.device(deviceIndex).type);
  warnIfSlow(plugin.name, accelerator, deviceIndex);
  return plugin;
}

/** Checks backend and level against each other and against the precision. */
function checkBackend(settings: PrecisionSettings, asked: PrecisionName | "auto" | null): string {
  const known = ampBackends();
  // apex is a name of its own even where it is not registered, so that its misuse is reported before its absence.
  const names = known.includes("apex") ? known : [...known, "apex"];
  const backend = settings.ampBackend ?? "native";
  if (typeof backend !== "string" || !names.includes(backend)) {
    throw new MisconfigurationError("Trainer", `ampBackend to be one of ${names.map((n) => JSON.stringify(n)).join(", ")}`, backend, undefined, "ERR_AMP_BACKEND");
  }
  const level = settings.ampLevel;
  if (level !== undefined && backend === "native") {
    throw new MisconfigurationError("Trainer", 'ampLevel only with ampBackend: "apex"', level, 'Add ampBackend: "apex", or remove ampLevel.', "ERR_AMP_LEVEL");
  }
  if (level !== undefined && !AMP_LEVELS.includes(level as AmpLevel)) {
    throw new MisconfigurationError("Trainer", `ampLevel to be one of ${AMP_LEVELS.map((l) => JSON.stringify(l)).join(", ")}`, level, undefined, "ERR_AMP_LEVEL");
  }
  if (backend === "native" || asked === null) return backend;
  if (asked === "bf16-mixed") {
    throw new MisconfigurationError("Trainer", 'precision "bf16" only with the native backend', words(`ampBackend: ${JSON.stringify(backend)}`), "Remove ampBackend, or use precision: 16.", "ERR_PRECISION_APEX");
  }
  if (asked !== "16-mixed") {
    throw new MisconfigurationError("Trainer", `precision 16 with ampBackend: ${JSON.stringify(backend)}, whose ampLevel says which parts are float16`, settings.precision, isTrue(asked as PrecisionName) ? "A true precision has no mixed parts: remove ampBackend." : "Remove ampBackend, or use precision: 16.", "ERR_PRECISION_APEX");
  }
  return backend;
}

/** precision: "auto". */
function chooseFor(accelerator: Accelerator, index: number, reasons: string[]): PrecisionName {
  const support = accelerator.support(index);
  if (support.bfloat16) {
    reasons.push(`auto: ${accelerator.name} computes bfloat16 natively, which needs no loss scaling`);
    return "bf16-mixed";
  }
  if (support.float16) {
    reasons.push(`auto: ${accelerator.name} computes float16 natively but not bfloat16`);
    return "16-mixed";
  }
  reasons.push(`auto: ${accelerator.name} has no native 16-bit arithmetic`);
  return "32-true";
}

/** A process says it once, however many Trainers it makes. */
const emulation = new WarnOnce();

/** What is asked for is what runs; where the device has to emulate it, say so and name what is faster. */
function warnIfSlow(name: PrecisionName, accelerator: Accelerator, index: number): void {
  if (name.startsWith("transformer-engine")) {
    warnWithoutFloat8(name, accelerator, index);
    return;
  }
  const dtype = name.startsWith("bf16") ? "bfloat16" : name.startsWith("16") ? "float16" : null;
  if (dtype === null) return;
  const support = accelerator.support(index);
  if (support[dtype]) return;
  const other = dtype === "bfloat16" ? "float16" : "bfloat16";
  const faster = support[other] ? (other === "bfloat16" ? 'precision: "bf16"' : "precision: 16") : "precision: 32";
  emulation.warn("WARN_PRECISION_EMULATED", `precision ${JSON.stringify(name)}: ${accelerator.name} (${support.description}) emulates ${dtype} arithmetic. It is correct but slow; ${faster} is faster here.`);
}

/** float8 products need compute capability 8.9. Elsewhere they give the same numbers, slowly. */
function warnWithoutFloat8(name: PrecisionName, accelerator: Accelerator, index: number): void {
  const support = accelerator.support(index);
  if (support.float8) return;
  const faster = support.bfloat16 ? 'precision: "bf16-true"' : support.float16 ? "precision: 16" : "precision: 32";
  const what = accelerator.name === "cpu" ? "float8 products run on the CPU for correctness" : "float8 products, which need compute capability 8.9, are emulated in float32";
  emulation.warn("WARN_PRECISION_EMULATED", `precision ${JSON.stringify(name)}: ${what} (${support.description}). Their numbers are right, their speed is not; ${faster} is faster here.`);
}
