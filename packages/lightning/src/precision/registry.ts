import { atMost } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import { ApexPrecision } from "./apex.js";
import { entryNamed } from "./catalogue.js";
import type { AmpLevel, PrecisionFactory, PrecisionRequest } from "./entry.js";
import { Precision } from "./precision.js";

export const AMP_LEVELS: readonly AmpLevel[] = ["O0", "O1", "O2", "O3"];

const backends = new Map<string, PrecisionFactory>([
  ["apex", ({ ampLevel }) => new ApexPrecision({ optLevel: ampLevel ?? "O2" })],
]);

/** Make `new Trainer({ ampBackend: name })` mean `create(request)`. */
export function registerAmpBackend(name: string, create: PrecisionFactory): void {
  atMost("registerAmpBackend", arguments, 2);
  backends.set(name, create);
}

export function ampBackends(): string[] {
  return ["native", ...backends.keys()];
}

/** Builds the plugin that a request resolves to, for its device. */
export function createPrecision(request: PrecisionRequest, backend: string): Precision {
  const create = backend === "native" ? entryNamed(request.name)?.create : backends.get(backend);
  if (create === undefined) {
    // An accelerator may map to a name that nobody registered.
    const fix = `Add it with registerPrecision({ name: ${JSON.stringify(request.name)}, … }).`;
    throw new MisconfigurationError(
      "Trainer",
      "a precision that is registered",
      request.name,
      fix,
      "ERR_PRECISION_UNAVAILABLE",
    );
  }
  const precision: unknown = create(request);
  if (!(precision instanceof Precision)) {
    const fix = "It is what the function given to registerPrecision or registerAmpBackend returned.";
    throw new MisconfigurationError(
      "Trainer",
      "a factory of precisions to return a Precision",
      precision,
      fix,
      "ERR_PRECISION_PLUGIN",
    );
  }
  precision.onDevice(request.deviceType);
  return precision;
}
