/** Policies of one's own: another dtype for some operators, in a region. */
import { callable, record } from "../kinds.js";
import { ArgumentError, NbitError } from "../errors.js";
import { addForwardRegion } from "../forward-regions.js";
import { native } from "../native.js";
import { isPromise, refusePromise } from "../synchronous.js";
import { atMost, checkArguments } from "../options.js";
import { device as deviceOf, deviceTypeCode, type DeviceLike } from "../tensor/device.js";
import { schemasOf } from "../ops/schema.js";
import { policyTable } from "./policy-table.js";

/**
 * `lower`: the region's dtype. `float32`. `promote`: the widest input. `none`: as the inputs are. `banned`: an error.
 * `banned16`: an error for 16-bit inputs.
 */
export type PolicyRule = "lower" | "float32" | "promote" | "none" | "banned" | "banned16";
export type PolicyRules = Readonly<Record<string, PolicyRule>>;

const RULES: readonly string[] = ["lower", "float32", "promote", "none", "banned", "banned16"];

/** Those that hold now, the innermost last. */
const running: AutocastPolicy[] = [];
addForwardRegion(() => {
  const open = [...running];
  if (open.length === 0) return null;
  return <T>(fn: () => T): T => open.reduceRight((inner: () => T, policy) => () => policy.run(inner), fn)();
});

/**
 * Rules for operators under autocast, in place of libtorch's. Kernels are registered with the dispatcher when it is
 * made and removed by `dispose()`; between `run`s they do what libtorch does.
 */
export class AutocastPolicy {
  readonly rules: PolicyRules;
  readonly device: string;
  #id: number;

  /** @internal The policy's number in the addon. */
  protected get id(): number {
    return this.#id;
  }

  /**
   * @param rules - By operator, in schema spelling: `{ "scatter_add": "float32", "softmax": "lower" }`.
   * @throws {ArgumentError} for an operator that this libtorch does not have, or a rule that does not exist.
   */
  constructor(rules: PolicyRules, device: DeviceLike = "cpu") {
    atMost("AutocastPolicy", arguments, 2);
    checkArguments("amp.policy", { rules }, { rules: record });
    this.rules = Object.freeze({ ...rules });
    this.device = deviceOf(device, "amp.policy").type;
    const libtorch = policyTable(this.device);
    const lines = Object.entries(rules).map(([name, rule]) => {
      if (schemasOf(`aten::${name}`).length === 0)
        throw new ArgumentError("amp.policy", 'names of operators, such as "scatter_add"', name);
      if (!RULES.includes(rule))
        throw new ArgumentError("amp.policy", `a rule among ${RULES.join(", ")} for ${name}`, rule);
      return `${name}\t${rule}\t${libtorch.get(name) ?? "none"}`;
    });
    this.#id = native.policyCreate(deviceTypeCode(this.device), lines.join("\n"));
  }

  /** Run `fn` with these rules; they matter inside autocast regions only. Inner policies come first. */
  run<T>(fn: () => T): T {
    atMost("AutocastPolicy.run", arguments, 1);
    checkArguments("AutocastPolicy.run", { fn }, { fn: callable });
    if (this.#id === 0)
      throw new NbitError(
        "AutocastPolicy.run: expected a policy that is in use. Received: one that was disposed of.",
        "POLICY_DISPOSED",
      );
    native.policyPush(this.#id);
    running.push(this);
    try {
      const result = fn();
      if (isPromise(result))
        refusePromise(
          result,
          "amp.policy: expected a synchronous function. Received: a function that returns a promise, whose code after an await would run outside the policy.",
          "AUTOCAST_ASYNC",
        );
      return result;
    } finally {
      running.pop();
      native.policyPop();
    }
  }
  dispose(): void {
    atMost("AutocastPolicy.dispose", arguments, 0);
    if (this.#id !== 0) native.policyFree(this.#id);
    this.#id = 0;
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/**
 * Run `fn` with other rules for some operators under autocast.
 *
 * The way out where libtorch has no rule: operators in no list run in their inputs' dtype, and throw when these differ.
 * Registering costs some microseconds per operator: for a hot path make an {@link AutocastPolicy} once.
 * @example amp.policy({ scatter_add: "float32" }, () => autocast({ dtype: "bfloat16" }, () => model.forward(x)))
 */
export function policy<T>(rules: PolicyRules, fn: () => T, device: DeviceLike = "cpu"): T {
  atMost("amp.policy", arguments, 3);
  checkArguments("amp.policy", { fn }, { fn: callable });
  const made = new AutocastPolicy(rules, device);
  try {
    return made.run(fn);
  } finally {
    made.dispose();
  }
}
