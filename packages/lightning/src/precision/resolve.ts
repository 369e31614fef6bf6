import { verbatim } from "@nbit/torch";
import type { CpuKernels } from "@nbit/torch";
import type { Accelerator } from "../accelerators/accelerator.js";
import { MisconfigurationError } from "../errors.js";
import { warn } from "../warnings.js";
import { availablePrecisions, entryNamed, entryOf, parsePrecision, spell } from "./catalogue.js";
import { chooseFor, DEFAULT, warnIfEmulated } from "./emulation.js";
import { autocasts } from "./entry.js";
import type { AmpLevel } from "./entry.js";
import type { PrecisionName } from "./names.js";
import { Precision } from "./precision.js";
import { AMP_LEVELS, ampBackends, createPrecision } from "./registry.js";

/** The Trainer's options that concern precision. Undefined: not given. */
export interface PrecisionSettings {
  readonly precision: unknown;
  readonly ampBackend: unknown;
  readonly ampLevel: unknown;
  readonly plugins: readonly unknown[];
  readonly accelerator: Accelerator;
  readonly deviceIndex: number;
  readonly cpuKernels: CpuKernels | undefined;
}

/**
 * From options to a plugin: every error and warning about precision is given here, when a Trainer is constructed.
 *
 * @throws {MisconfigurationError} for an unknown spelling, a backend or level that does not exist, bfloat16 or a true
 * precision with apex, a level without apex, float64 or apex on a TPU, a precision given both as option and as plugin,
 * and a plugin that is none, or that the device does not have.
 */
export function resolvePrecision(settings: PrecisionSettings): Precision {
  const plugin = findPlugin(settings);
  if (plugin !== null) return attach(plugin, settings, null, ["a plugin was given"]);

  const { accelerator, deviceIndex } = settings;
  const reasons: string[] = [];
  const asked = settings.precision === undefined ? null : parsePrecision(settings.precision);
  const backend = checkBackend(settings, asked);
  const name = mapOnto(accelerator, backend, choose(settings, asked, backend, reasons), reasons);
  requireAccelerator(accelerator);
  warnIfEmulated(name, accelerator, deviceIndex);

  const ampLevel = backend === "native" ? null : ((settings.ampLevel as AmpLevel | undefined) ?? "O2");
  if (ampLevel !== null) reasons.push(`ampBackend ${JSON.stringify(backend)} at level ${ampLevel}`);
  const precision = createPrecision({ name, deviceType: accelerator.device(deviceIndex).type, ampLevel }, backend);
  return attach(precision, settings, settings.precision ?? null, reasons);
}

/**
 * The precision of validation, for whose batches the weights of `training` are cast.
 *
 * @throws {MisconfigurationError} as {@link resolvePrecision} does, and where one of the two does not hold all weights
 * in one dtype.
 */
export function resolveValidationPrecision(settings: PrecisionSettings, training: Precision): Precision {
  const isUniform = (precision: Precision): boolean => entryOf(precision)?.uniformWeights ?? false;
  const code = "ERR_VALIDATION_PRECISION";
  if (!isUniform(training)) {
    const expected = "validationPrecision beside a precision that holds all weights in one dtype";
    throw new MisconfigurationError(
      "Trainer",
      expected,
      training.constructor.name,
      "Leave it out: validation runs as training does.",
      code,
    );
  }
  const validation = resolvePrecision(settings);
  if (isUniform(validation)) return validation;
  const fix = `Its layers are converted when a run begins, which validation alone cannot do. Use one of ${availablePrecisions()
    .filter(({ uniformWeights }) => uniformWeights)
    .map(spell)
    .join(", ")}.`;
  throw new MisconfigurationError(
    "Trainer",
    "validationPrecision to hold all weights in one dtype",
    settings.precision,
    fix,
    code,
  );
}

/** Name of what was asked for, or of what nothing or "auto" means. */
function choose(
  { accelerator, deviceIndex }: PrecisionSettings,
  asked: PrecisionName | "auto" | null,
  backend: string,
  reasons: string[],
): PrecisionName {
  if (asked === "auto") {
    const { name, reason } = chooseFor(accelerator, deviceIndex);
    reasons.push(reason);
    return name;
  }
  if (asked !== null) return asked;
  if (backend !== "native") return OF_BACKENDS;
  reasons.push(`${DEFAULT} is the default`);
  return DEFAULT;
}

/** What an accelerator has for a precision, with its warning. */
function mapOnto(accelerator: Accelerator, backend: string, name: PrecisionName, reasons: string[]): PrecisionName {
  const mapped = accelerator.mapPrecision?.(name) ?? { name };
  if (mapped.name !== name) {
    if (backend !== "native")
      throw new MisconfigurationError(
        "Trainer",
        `an accelerator that has ${name} with ampBackend: ${JSON.stringify(backend)}`,
        accelerator.name,
        "Remove ampBackend, or use another accelerator.",
        "ERR_PRECISION_APEX",
      );
    reasons.push(`${accelerator.name} has no ${name}`);
  }
  if (mapped.warning !== undefined) warn("WARN_PRECISION_MAPPED", mapped.warning);
  return mapped.name;
}

function requireAccelerator(accelerator: Accelerator): void {
  const missing = accelerator.missing();
  if (missing === null) return;
  throw new MisconfigurationError(
    "Trainer",
    `accelerator ${JSON.stringify(accelerator.name)} to be usable here`,
    verbatim("an accelerator that is not"),
    `Missing: ${missing}.`,
    "ERR_ACCELERATOR_UNAVAILABLE",
  );
}

function attach(
  precision: Precision,
  settings: PrecisionSettings,
  requested: unknown,
  reasons: readonly string[],
): Precision {
  const { accelerator, deviceIndex, cpuKernels } = settings;
  precision.context = {
    requested,
    reasons,
    accelerator,
    deviceIndex,
    ...(cpuKernels === undefined ? {} : { cpuKernels }),
  };
  return precision;
}

function findPlugin(settings: PrecisionSettings): Precision | null {
  const plugins = settings.plugins.map((p) => {
    if (p instanceof Precision) return p;
    throw new MisconfigurationError(
      "Trainer",
      "plugins to be precisions, such as new MixedPrecision(), and a CheckpointIO",
      p,
      typeof p === "string" || typeof p === "number" ? "Give the name of a precision as precision." : undefined,
      "ERR_PRECISION_PLUGIN",
    );
  });
  const [plugin, second] = plugins;
  if (plugin === undefined) return null;
  if (second !== undefined) {
    throw new MisconfigurationError(
      "Trainer",
      "at most one precision plugin",
      plugins.map((p) => p.constructor.name).join(", "),
      undefined,
      "ERR_PRECISION_TWICE",
    );
  }
  if (settings.precision !== undefined) {
    throw new MisconfigurationError(
      "Trainer",
      "precision as an option or as a plugin, not both",
      verbatim(`precision: ${JSON.stringify(settings.precision)} and ${plugin.constructor.name}`),
      "Remove one of them.",
      "ERR_PRECISION_TWICE",
    );
  }
  if (settings.ampBackend !== undefined || settings.ampLevel !== undefined) {
    throw new MisconfigurationError(
      "Trainer",
      "neither ampBackend nor ampLevel beside a precision plugin",
      settings.ampBackend ?? settings.ampLevel,
      "Remove it, or the plugin.",
      "ERR_PRECISION_TWICE",
    );
  }
  const { accelerator, deviceIndex } = settings;
  const mapped = accelerator.mapPrecision?.(plugin.name);
  if (mapped !== undefined && mapped.name !== plugin.name) {
    throw new MisconfigurationError(
      "Trainer",
      `a precision that ${accelerator.name} has`,
      verbatim(`${plugin.constructor.name} in ${plugin.name}`),
      `Give a plugin in ${mapped.name}.`,
      "ERR_PRECISION_PLUGIN",
    );
  }
  requireAccelerator(accelerator);
  plugin.onDevice(accelerator.device(deviceIndex).type);
  warnIfEmulated(plugin.name, accelerator, deviceIndex);
  return plugin;
}

/** What an ampBackend takes the place of. */
const OF_BACKENDS: PrecisionName = "16-mixed";

/** Checks backend and level against each other and against the precision. */
function checkBackend(settings: PrecisionSettings, asked: PrecisionName | "auto" | null): string {
  const names = ampBackends();
  const backend = settings.ampBackend ?? "native";
  if (typeof backend !== "string" || !names.includes(backend)) {
    throw new MisconfigurationError(
      "Trainer",
      `ampBackend to be one of ${names.map((n) => JSON.stringify(n)).join(", ")}`,
      backend,
      undefined,
      "ERR_AMP_BACKEND",
    );
  }
  const level = settings.ampLevel;
  if (level !== undefined && backend === "native") {
    throw new MisconfigurationError(
      "Trainer",
      'ampLevel only with ampBackend: "apex"',
      level,
      'Add ampBackend: "apex", or remove ampLevel.',
      "ERR_AMP_LEVEL",
    );
  }
  if (level !== undefined && !AMP_LEVELS.includes(level as AmpLevel)) {
    throw new MisconfigurationError(
      "Trainer",
      `ampLevel to be one of ${AMP_LEVELS.map((l) => JSON.stringify(l)).join(", ")}`,
      level,
      undefined,
      "ERR_AMP_LEVEL",
    );
  }
  if (backend !== "native") checkForBackend(backend, settings.precision, asked);
  return backend;
}

function checkForBackend(backend: string, given: unknown, asked: PrecisionName | "auto" | null): void {
  if (asked === null || asked === OF_BACKENDS) return;
  const option = `ampBackend: ${JSON.stringify(backend)}`;
  const fix = "Remove ampBackend, or use precision: 16.";
  const entry = asked === "auto" ? null : entryNamed(asked);
  if (entry !== null && autocasts(entry)) {
    throw new MisconfigurationError(
      "Trainer",
      `precision ${spell(entry)} only with the native backend`,
      verbatim(option),
      fix,
      "ERR_PRECISION_APEX",
    );
  }
  const expected = `precision 16 with ${option}, whose ampLevel says which parts are float16`;
  const isTrue = entry?.uniformWeights ?? false;
  throw new MisconfigurationError(
    "Trainer",
    expected,
    given,
    isTrue ? "A true precision has no mixed parts: remove ampBackend." : fix,
    "ERR_PRECISION_APEX",
  );
}
