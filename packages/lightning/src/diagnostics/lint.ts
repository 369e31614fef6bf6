import { amp, calledByProgram, describeLine, finfo, isFloatingPoint, plainText, Tensor, userLine } from "@nbit/torch";
import type { DType, optim } from "@nbit/torch";
import type { LightningModule } from "../module.js";
import { dtypeOf, shortName } from "./attribution.js";
import { measureRange, mergeRanges, NOTHING, rangeOf } from "./number-range.js";
import { policyTableOf, traceStep } from "./observe-step.js";
import type { DryRunParts } from "./dry-run.js";

export const LINT_CODES = [
  "LINT_MANUAL_CAST",
  "LINT_NESTED_AUTOCAST",
  "LINT_SCATTER",
  "LINT_LOSS",
  "LINT_EPS",
  "LINT_LEARNING_RATE",
] as const;
export type LintCode = (typeof LINT_CODES)[number];

/** Something that will cost accuracy, or end in an error, sooner or later. */
export interface LintFinding {
  readonly code: LintCode;
  /** A module, an optimizer, a line of the program. */
  readonly place: string;
  readonly reason: string;
  readonly fix: string;
  /** Of several processes those that have it, where not all do. */
  readonly ranks?: readonly number[];
}

const is16 = (dtype: DType | null): dtype is "float16" | "bfloat16" => dtype === "float16" || dtype === "bfloat16";

/**
 * What can be seen before training: constants that a 16-bit dtype makes zero, and learning rates whose updates it
 * rounds away. Reads the weights of 16-bit parameters.
 */
export function lintSettings(module: LightningModule, optimizers: readonly optim.Optimizer[]): LintFinding[] {
  return [
    ...epsOfModules(module),
    ...optimizers.flatMap((optimizer, i) => [...epsOf(optimizer, i), ...rateOf(optimizer, i, module)]),
  ];
}

function vanishes(value: number, dtype: DType): boolean {
  return value > 0 && Math.log2(value) < rangeOf(dtype).smallest - 1;
}

function* epsOfModules(module: LightningModule): Iterable<LintFinding> {
  for (const [name, child] of module.namedModules()) {
    const eps: unknown = Reflect.get(child, "eps");
    const dtype = [...child.namedParameters({ recurse: false })][0]?.[1].dtype ?? null;
    if (typeof eps !== "number" || !is16(dtype) || !vanishes(eps, dtype)) continue;
    yield {
      code: "LINT_EPS",
      place: `module ${name} (${child.constructor.name})`,
      reason: `eps ${eps} is 0 in ${dtype}, whose smallest number is ${2 ** rangeOf(dtype).smallest}: division by zero is not prevented`,
      fix: "Pass eps: 1e-5.",
    };
  }
}

function titleOf(optimizer: optim.Optimizer, i: number): string {
  return `optimizer ${i} (${optimizer.constructor.name})`;
}

function* epsOf(optimizer: optim.Optimizer, i: number): Iterable<LintFinding> {
  for (const group of optimizer.paramGroups) {
    const eps: unknown = Reflect.get(group, "eps");
    const dtype = group.params.find((p) => is16(p.dtype) && typeof eps === "number" && vanishes(eps, p.dtype))?.dtype;
    if (dtype === undefined) continue;
    yield {
      code: "LINT_EPS",
      place: titleOf(optimizer, i),
      reason: `eps ${String(eps)} is 0 in ${dtype}: the update divides by zero where a gradient is small, and weights become NaN`,
      fix: 'Pass eps: 1e-4, or use precision "bf16-true" or a mixed one.',
    };
    return;
  }
}

/**
 * Adam and its kin change a weight by about the learning rate: where half the gap between neighbouring numbers is
 * larger, nothing happens.
 */
function* rateOf(optimizer: optim.Optimizer, i: number, module: LightningModule): Iterable<LintFinding> {
  const names = new Map<Tensor, string>([...module.namedParameters()].map(([name, p]) => [p, name]));
  for (const group of optimizer.paramGroups) {
    if (
      Reflect.get(group, "betas") === undefined ||
      ["kahan", "stochastic"].includes(String(Reflect.get(group, "rounding")))
    )
      continue;
    const lr = Number(group.lr);
    const params = group.params.filter((p) => is16(p.dtype));
    const dtype = params[0]?.dtype;
    if (dtype === undefined || !(lr > 0)) continue;
    const limit = Math.log2(lr) - Math.log2(finfo(dtype).eps / 2);
    const deaf = (range: typeof NOTHING): number =>
      range.counts.reduce((sum, n, e) => sum + (range.exponent + e > limit ? n : 0), 0);
    let all = NOTHING;
    let worst = { name: "", share: 0 };
    for (const p of params) {
      const range = measureRange(p);
      const share = deaf(range) / Math.max(1, range.count);
      if (share > worst.share) worst = { name: names.get(p) ?? "a parameter", share };
      all = mergeRanges(all, range);
    }
    const share = deaf(all) / Math.max(1, all.count);
    if (share <= 0.5) continue;
    yield {
      code: "LINT_LEARNING_RATE",
      place: titleOf(optimizer, i),
      reason: `lr ${lr} is less than half the gap between neighbouring ${dtype} numbers at ${(100 * share).toFixed(0)} % of the weights (most in ${worst.name}): updates of its size round to nothing`,
      fix: 'Pass rounding: "kahan" or "stochastic" to the optimizer, raise lr, or use a mixed precision, whose weights are float32.',
    };
  }
}

const SCATTER =
  /^(scatter|scatter_add|scatter_reduce|index_add|index_reduce|index_put|_index_put_impl|put|segment_reduce|_?embedding_bag|cumsum|cumprod|logcumsumexp)_?$/;
const LOSS = /(_loss\d*d?|cross_entropy|kl_div|log_softmax|binary_cross_entropy|_with_logits)$/;

/**
 * What a dry run of one step shows: casts and regions that the program makes itself, sums over many in 16 bits, losses
 * in 16 bits.
 */
export function lintStep(parts: DryRunParts): LintFinding[] {
  const findings: LintFinding[] = [];
  let loss = null as DType | null;
  let inBackward = false;
  const { calls } = watchCasts(
    (code, what, line) => {
      if (!inBackward)
        findings.push({
          code,
          place: line,
          reason: what,
          fix:
            code === "LINT_MANUAL_CAST"
              ? "Remove it: the Trainer's precision casts where it is safe. Where one operator needs another dtype: amp.policy, or autocast({ enabled: false }, …)."
              : "Remove it, and choose the precision in the Trainer.",
        });
    },
    () =>
      traceStep(parts, {
        onLoss: (t) => {
          loss = t.dtype;
          inBackward = true;
        },
      }),
  );
  const table = policyTableOf(parts.device);
  const lossOperators: string[] = [];
  for (const call of calls) {
    if (call.phase === "backward") continue;
    const name = shortName(call.event);
    const { dtype } = dtypeOf(call, table);
    if (!is16(dtype)) continue;
    const module = call.module === "" ? "trainingStep" : `module ${call.module}`;
    if (SCATTER.test(name))
      findings.push({
        code: "LINT_SCATTER",
        place: `${name} in ${module}`,
        reason: `it adds up (or moves) numbers in ${dtype}, which keeps ${dtype === "float16" ? 11 : 8} significant bits: sums over many elements stop growing`,
        fix: `Give it a rule, amp.policy({ "${name.replace(/_$/, "")}": "float32" }, () => …), or cast its inputs to float32 first.`,
      });
    if (LOSS.test(name)) lossOperators.push(`${name} in ${module}`);
  }
  if (is16(loss) || lossOperators.length > 0) {
    const dtype: string = is16(loss) ? loss : "16 bits";
    findings.push({
      code: "LINT_LOSS",
      place: lossOperators[0] ?? "the loss that trainingStep returns",
      reason: `the loss is computed in ${dtype}: its mean over many elements loses digits${dtype === "float16" ? ", and overflows beyond 65,504" : ""}`,
      fix: "Cast what goes into the loss: outputs.float(). Gradients go back through the cast.",
    });
  }
  const seen = new Set<string>();
  return findings.filter((f) => !seen.has(`${f.code} ${f.place}`) && seen.add(`${f.code} ${f.place}`));
}

const METHODS = ["to", "half", "bfloat16", "double"] as const;

/** Tell of casts to 16 or 64 bits and of autocast regions that `fn`'s program makes itself, with their lines. */
function watchCasts<T>(
  found: (code: "LINT_MANUAL_CAST" | "LINT_NESTED_AUTOCAST", what: string, line: string) => void,
  fn: () => T,
): T {
  const line = (stack: string | undefined): string => describeLine(userLine(stack)).replace(/^ At /, "");
  const originals = METHODS.map((name) => [name, Object.getOwnPropertyDescriptor(Tensor.prototype, name)] as const);
  for (const [name, descriptor] of originals) {
    const method: unknown = descriptor?.value;
    if (descriptor === undefined || typeof method !== "function") continue;
    Object.defineProperty(Tensor.prototype, name, {
      ...descriptor,
      value: function (this: Tensor, ...args: unknown[]): unknown {
        const result: unknown = Reflect.apply(method, this, args);
        if (!(result instanceof Tensor) || result.dtype === this.dtype || !isFloatingPoint(this.dtype)) return result;
        const { stack } = new Error();
        if ((is16(result.dtype) || result.dtype === "float64") && calledByProgram(stack, 2))
          found("LINT_MANUAL_CAST", `a cast by hand, ${this.dtype} → ${result.dtype}`, line(stack));
        return result;
      },
    });
  }
  try {
    return amp.observeAutocast((options) => {
      if (options.enabled === false) return;
      const { stack } = new Error();
      // This function and autocast come first in the stack.
      if (calledByProgram(stack, 3))
        found(
          "LINT_NESTED_AUTOCAST",
          `an autocast region of the program's own (${options.dtype ?? "default dtype"})`,
          line(stack),
        );
    }, fn);
  } finally {
    for (const [name, descriptor] of originals)
      if (descriptor !== undefined) Object.defineProperty(Tensor.prototype, name, descriptor);
  }
}

/** Findings as lines of text. */
export function formatFindings(findings: readonly LintFinding[]): string {
  return findings
    .map(
      (f) =>
        `  ${f.code}  ${f.ranks === undefined ? "" : `[rank ${f.ranks.join(", ")}] `}${plainText(f.place)}\n    ${plainText(f.reason)}.\n    ${plainText(f.fix)}`,
    )
    .join("\n");
}
