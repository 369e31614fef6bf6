import { atMost } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import { ApexPrecision } from "./apex.js";
import { DoublePrecision } from "./double.js";
import { Float8Precision } from "./float8.js";
import { FullPrecision } from "./full.js";
import { HalfPrecision } from "./half.js";
import { MixedPrecision } from "./mixed.js";
import type { PrecisionName } from "./names.js";
import type { Precision } from "./precision.js";

/** What a factory is told. */
export interface PrecisionRequest {
  readonly name: PrecisionName;
  /** "cpu", "cuda", …: the device type whose operators run. */
  readonly deviceType: string;
  /** For backends with levels; null otherwise. */
  readonly ampLevel: AmpLevel | null;
}

export type AmpLevel = "O0" | "O1" | "O2" | "O3";
export const AMP_LEVELS: readonly AmpLevel[] = ["O0", "O1", "O2", "O3"];

export type PrecisionFactory = (request: PrecisionRequest) => Precision;

const precisions = new Map<PrecisionName, PrecisionFactory>([
  ["32-true", () => new FullPrecision()],
  ["64-true", () => new DoublePrecision()],
  ["16-mixed", ({ deviceType }) => new MixedPrecision({ precision: "16-mixed", device: deviceType })],
  ["bf16-mixed", ({ deviceType }) => new MixedPrecision({ precision: "bf16-mixed", device: deviceType })],
  ["16-true", () => new HalfPrecision("16-true")],
  ["bf16-true", () => new HalfPrecision("bf16-true")],
  ["transformer-engine", () => new Float8Precision({ precision: "transformer-engine" })],
  ["transformer-engine-float16", () => new Float8Precision({ precision: "transformer-engine-float16" })],
]);

const backends = new Map<string, PrecisionFactory>([["apex", ({ ampLevel }) => new ApexPrecision({ optLevel: ampLevel ?? "O2" })]]);

/** Make a precision available, or replace how it is made. */
export function registerPrecision(name: PrecisionName, create: PrecisionFactory): void {
  atMost("registerPrecision", arguments, 2);
  precisions.set(name, create);
}

/** Make `new Trainer({ ampBackend: name })` mean `create(request)`. */
export function registerAmpBackend(name: string, create: PrecisionFactory): void {
  atMost("registerAmpBackend", arguments, 2);
  backends.set(name, create);
}

export function ampBackends(): string[] {
  return ["native", ...backends.keys()];
}

/** Builds the plugin that a request resolves to. */
export function createPrecision(request: PrecisionRequest, backend: string): Precision {
  const create = backend === "native" ? precisions.get(request.name) : backends.get(backend);
  if (create === undefined) {
    throw new MisconfigurationError(
      "Trainer",
      backend === "native" ? `a precision that is available here (${[...precisions.keys()].map((n) => JSON.stringify(n)).join(", ")})` : "an ampBackend that is registered",
      backend === "native" ? request.name : backend,
      backend === "native" ? `${request.name.startsWith("transformer-engine") ? "Float8 comes with @nbit/lowbit. " : ""}Register a plugin for it with registerPrecision(name, create).` : "Register it with registerAmpBackend(name, create).",
      "ERR_PRECISION_UNAVAILABLE",
    );
  }
  return create(request);
}
