import { NbitError, optim, scope } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { eachTensor } from "../collections.js";
import type { NonFiniteOrigin } from "./non-finite-origin.js";
import { comesFromOthers, findOrigin } from "./origin.js";
import { traceStep } from "./observe-step.js";
import type { DryRunParts } from "./dry-run.js";

/**
 * Training met NaN or infinity. `origin` says where it began, `parameters` which parameters were not finite before the
 * step.
 */
export class NonFiniteError extends NbitError {
  readonly origin: NonFiniteOrigin | null;
  readonly parameters: readonly string[];
  /** Of several processes the one whose batch made it, where they found out together; null otherwise. */
  readonly rank: number | null;
  /** All processes throw it, at the same place. */
  readonly ofAllRanks: boolean;
  constructor(
    message: string,
    origin: NonFiniteOrigin | null,
    parameters: readonly string[],
    code = "ERR_NON_FINITE",
    options?: ErrorOptions,
    rank?: number | null,
  ) {
    super(message, code, options);
    this.origin = origin;
    this.parameters = parameters;
    this.rank = rank ?? null;
    this.ofAllRanks = rank !== undefined;
  }
}

export interface NonFiniteFinding {
  readonly origin: NonFiniteOrigin | null;
  readonly parameters: readonly string[];
  readonly inBatch: boolean;
  /** Parameters whose gradients were not finite, of a step that was replayed; in the module's order. */
  readonly gradients: readonly string[];
  /** What is not finite came from another process. */
  readonly fromOthers: boolean;
  /** One or two sentences: where it began. */
  readonly text: string;
  readonly fix: string;
}

const isFinite = (tensor: Tensor): boolean =>
  !tensor.isFloatingPoint() || scope(() => tensor.detach().isfinite().all().item() !== 0);

/**
 * Replay a step that went wrong, reading the output of every operator, and say where numbers stopped being finite.
 * Slow; waits for the device at every operator.
 *
 * @param always - Replay it even where the batch or the weights were not finite before: other processes do.
 */
export function explainNonFinite(parts: DryRunParts, always = false): NonFiniteFinding {
  let inBatch = false;
  eachTensor(parts.batch, (tensor) => (inBatch ||= !isFinite(tensor)));
  const parameters = [...parts.module.namedParameters()]
    .filter(([, parameter]) => !isFinite(parameter))
    .map(([name]) => name);
  const clean = !inBatch && parameters.length === 0;
  const replayed = clean || always ? replay(parts) : null;
  const found = { parameters, inBatch, gradients: replayed?.gradients ?? [], fromOthers: false };
  if (inBatch)
    return {
      ...found,
      origin: null,
      text: "The batch itself holds NaN or infinity.",
      fix: "Look at the data set, and at what is done to its samples.",
    };
  if (parameters.length > 0) {
    const named =
      parameters.slice(0, 3).join(", ") + (parameters.length > 3 ? ` and ${parameters.length - 3} more` : "");
    return {
      ...found,
      origin: null,
      text: `Before this step already ${named} ${parameters.length === 1 ? "was" : "were"} not finite: the gradients of an earlier step were not.`,
      fix: 'Pass detectNonFinite: "gradients" to the Trainer, which finds that step and names its operator.',
    };
  }
  const origin = replayed?.origin ?? null;
  if (origin === null)
    return {
      ...found,
      origin,
      text: "Replayed, the step was finite: what made it so is random in a way that no seed governs, or is not computed by operators.",
      fix: "Look at what trainingStep does outside operators.",
    };
  const source = origin.infinityFrom ?? origin;
  if (comesFromOthers(source.operator) || comesFromOthers(source.inside ?? ""))
    return { ...found, origin: null, fromOthers: true, text: "It came from another process.", fix: "Look there." };
  return { ...found, origin, text: inWords(origin, parts.module), fix: fixFor(source) };
}

function inWords(origin: NonFiniteOrigin, root: DryRunParts["module"]): string {
  const type = origin.module === "" ? root.constructor.name : root.getSubmodule(origin.module).constructor.name;
  const cause = origin.infinityFrom;
  return `It began ${place(origin, type)}: its inputs were ${cause === null ? "finite" : "not NaN"}, and what came out${origin.dtype === null ? "" : ` (${origin.dtype})`} is ${origin.kind === "nan" ? "NaN" : "infinite"}.${cause === null ? "" : ` Infinities among its inputs came from ${named(cause, ", at ")}${cause.module === "" ? "" : ` in ${cause.module}`}.`}`;
}

function replay(parts: DryRunParts): {
  readonly origin: NonFiniteOrigin | null;
  readonly gradients: readonly string[];
} {
  const bad = new Set<string>();
  const onGradient = (name: string, gradient: Tensor): void => {
    if (!scope(() => optim.isFiniteGradient(gradient))) bad.add(name);
  };
  const origin = findOrigin(traceStep(parts, { checkValues: true, onGradient, onError: () => undefined }));
  return { origin, gradients: [...parts.module.namedParameters()].map(([name]) => name).filter((n) => bad.has(n)) };
}

function place(origin: NonFiniteOrigin, type: string): string {
  const where = origin.module === "" ? "in trainingStep itself" : `in module ${origin.module} (${type})`;
  const phase = origin.phase === "forward" ? "in the forward" : "in the backward";
  return isCastItself(origin)
    ? `${where}, ${phase}, at ${named(origin, "")}`
    : `${where}, ${phase} of operator ${named(origin, ", at ")}`;
}

/** A cast that the program asked for, rather than one that autocast put before an operator. */
function isCastItself(origin: NonFiniteOrigin): boolean {
  return /^(to|_to_copy)$/.test(origin.operator) && origin.inside !== null;
}

function named(origin: NonFiniteOrigin, link: string): string {
  if (isCastItself(origin)) return origin.inside ?? "";
  return `${origin.operator.replace(/Backward\d*$/, "")}${origin.inside === null ? "" : `${link}${origin.inside}`}`;
}

function fixFor(origin: NonFiniteOrigin): string {
  const name = origin.operator;
  if (origin.dtype === "float16" && origin.kind === "inf" && isCastItself(origin))
    return "float16 ends at 65,504: remove the cast, or cast to bfloat16.";
  if (origin.dtype === "float16" && origin.kind === "inf")
    return `float16 ends at 65,504: use precision "bf16", or keep this operator in float32: amp.policy({ "${name.replace(/Backward\d*$/, "")}": "float32" }, …), or autocast({ enabled: false }, …) around it.`;
  if (/^(log|sqrt|rsqrt|div|reciprocal|pow|norm|acos|asin|linalg)/i.test(name))
    return "It is not defined, or has no gradient, for some of its inputs: add a small eps to them, or clamp them.";
  if (/^exp|^softplus|^cosh|^sinh/i.test(name))
    return "Its inputs are too large: subtract their maximum, or clamp them.";
  return "Lower the learning rate, clip gradients, or look at the inputs of this module.";
}
