/** Adapters of a whole module: add, save, load, merge. */
import {
  ArgumentError,
  atMost,
  checkOptions,
  type DType,
  dtypeKind,
  isTensor,
  kinds,
  NbitError,
  nn,
  noGrad,
  type OptionNames,
  scope,
  type Tensor,
} from "@nbit/torch";
import { formatInteger } from "@nbit/torch/format";
import { ConversionReport, type ConvertedLayer } from "../float8/convert.js";
import { replaceChildren } from "../replace.js";
import { isLoraBase, LORA, LoRALinear, type LoraBase, type LoraOptions } from "./lora.js";
import { isMap, isPlain } from "@nbit/torch/realm";

export interface AddLoraOptions extends LoraOptions {
  /**
   * Which layers get an adapter: the last parts of their paths (`["q", "v"]` is every layer whose path ends in `.q` or
   * `.v`), whole paths, or a function. Default: all linear layers.
   */
  readonly targets?: readonly string[] | ((module: LoraBase, path: string) => boolean);
}
const NAMES: OptionNames<AddLoraOptions> = { ...LORA, targets: kinds.either(kinds.listOf(kinds.text), kinds.callable) };
export interface MergeLoraOptions {
  /** Of the merged weights. Default: the base's where it is of floats, else its bias's, else float32. */
  readonly dtype?: DType;
}
const MERGE: OptionNames<MergeLoraOptions> = { dtype: dtypeKind };

/**
 * Put a {@link LoRALinear} around linear layers of a module, in place, and freeze everything else: afterwards only
 * adapters learn. Works on plain, quantized and float8 layers, and before or after {@link quantizeWeights}.
 * @returns Every linear layer, with an adapter or not.
 * @throws {ArgumentError} when a target matches nothing, listing what there is.
 * @example
 * addLora(model, { rank: 8, targets: ["query", "value"] });
 * const optimizer = new optim.AdamW(loraParameters(model), { lr: 1e-3 });
 */
export function addLora(module: nn.Module, options: AddLoraOptions = {}): ConversionReport {
  const fn = "addLora";
  if (!(module instanceof nn.Module)) throw new ArgumentError(fn, "a module", module);
  if (isLoraBase(module))
    throw new ArgumentError(
      fn,
      "a module with linear layers inside",
      module,
      "Use new LoRALinear(linear) for one layer.",
    );
  atMost(fn, arguments, 2);
  checkOptions(fn, options, NAMES);
  const { targets, ...lora } = options;
  const { rank = 8, alpha = 16 } = lora;
  const inside = new Set([...adapters(module)].map(([, m]) => m.base as nn.Module));
  const paths = [...module.namedModules()]
    .filter(([, m]) => m instanceof LoRALinear || (isLoraBase(m) && !inside.has(m)))
    .map(([path]) => path);
  const hit = (target: string, path: string): boolean => path === target || path.endsWith(`.${target}`);
  if (targets !== undefined && typeof targets !== "function")
    for (const target of targets)
      if (!paths.some((path) => hit(target, path)))
        throw new ArgumentError(
          fn,
          `targets that match linear layers (${paths.slice(0, 8).join(", ")}${paths.length > 8 ? ", …" : ""})`,
          target,
        );
  module.requiresGrad_(false);
  const layers: ConvertedLayer[] = [];
  replaceChildren(module, (child, path) => {
    if (child instanceof LoRALinear) {
      child.loraA.requiresGrad_();
      child.loraB.requiresGrad_();
      layers.push({
        path,
        layer: `LoRALinear(${child.inFeatures}, ${child.outFeatures})`,
        converted: false,
        reason: `has an adapter of rank ${child.rank}`,
      });
      return child;
    }
    if (!isLoraBase(child)) return null;
    const wanted =
      targets === undefined ||
      (typeof targets === "function" ? targets(child, path) : targets.some((t) => hit(t, path)));
    layers.push({
      path,
      layer: `${child.constructor.name}(${child.inFeatures}, ${child.outFeatures})`,
      converted: wanted,
      reason: wanted ? `${formatInteger(rank * (child.inFeatures + child.outFeatures))} parameters learn` : "no target",
    });
    return wanted ? new LoRALinear(child, lora) : null;
  });
  return new ConversionReport(`adapters, rank ${rank}, alpha ${alpha}`, layers);
}

function* adapters(module: nn.Module): IterableIterator<[string, LoRALinear]> {
  for (const [path, m] of module.namedModules()) if (m instanceof LoRALinear) yield [path, m];
}
/** What learns: the factors of every adapter. */
export function loraParameters(module: nn.Module): nn.Parameter[] {
  atMost("loraParameters", arguments, 1);
  if (!(module instanceof nn.Module)) throw new ArgumentError("loraParameters", "a module", module);
  return [...adapters(module)].flatMap(([, m]) => [m.loraA, m.loraB]);
}
/** The adapters alone, by path: what a small checkpoint holds. The tensors themselves, not copies. */
export function loraStateDict(module: nn.Module): nn.StateDict {
  atMost("loraStateDict", arguments, 1);
  if (!(module instanceof nn.Module)) throw new ArgumentError("loraStateDict", "a module", module);
  const state: nn.StateDict = new Map();
  const dot = (path: string): string => (path === "" ? "" : `${path}.`);
  for (const [path, m] of adapters(module)) state.set(`${dot(path)}lora_a`, m.loraA).set(`${dot(path)}lora_b`, m.loraB);
  return state;
}
/**
 * Copy adapters into a module that has them.
 * @throws {NbitError} `STATE_DICT_MISMATCH`, listing what is missing, unexpected or of another shape, before anything
 * is copied. `LORA_MERGED` when an adapter of the module is in its base's weight, where the new one would have no
 * effect.
 */
export function loadLoraStateDict(
  module: nn.Module,
  state: ReadonlyMap<string, Tensor> | Readonly<Record<string, Tensor>>,
): void {
  atMost("loadLoraStateDict", arguments, 2);
  if (!(module instanceof nn.Module)) throw new ArgumentError("loadLoraStateDict", "a module", module);
  if (!isMap(state) && !isPlain(state))
    throw new ArgumentError("loadLoraStateDict", "state to be a Map or an object of tensors", state);
  const given: ReadonlyMap<string, Tensor> = isMap(state)
    ? (state as ReadonlyMap<string, Tensor>)
    : new Map(Object.entries(state));
  const own = loraStateDict(module);
  const merged = [...adapters(module)].filter(([, m]) => m.merged).map(([path]) => path);
  if (merged.length > 0)
    throw new NbitError(
      `loadLoraStateDict: expected adapters beside their bases. Received: merged ones at ${merged.map((path) => `"${path}"`).join(", ")}. Call unmerge() of these first.`,
      "LORA_MERGED",
    );
  const problems = [...own.keys()].filter((k) => !given.has(k)).map((k) => `missing ${k}`);
  for (const [key, value] of given) {
    const target = own.get(key);
    if (target === undefined) problems.push(`unexpected ${key}`);
    else if (!isTensor(value)) problems.push(`${key} is not a tensor`);
    else if (String(value.shape) !== String(target.shape))
      problems.push(`${key} has shape [${value.shape.join(", ")}], expected [${target.shape.join(", ")}]`);
  }
  if (problems.length > 0)
    throw new NbitError(
      `loadLoraStateDict: expected the adapters of this module. Received: ${problems.join("; ")}. Add adapters of the same rank to the same layers first.`,
      "STATE_DICT_MISMATCH",
    );
  noGrad(() => {
    for (const [key, target] of own) target.copy_(given.get(key) as Tensor);
  });
}

/**
 * Replace every adapter and its base by one plain linear layer of their sum, in place: for inference or export. A
 * quantized base becomes wide; its adapter is not rounded to its few bits.
 * @returns How many layers were merged.
 */
export function mergeLora(module: nn.Module, options: MergeLoraOptions = {}): number {
  atMost("mergeLora", arguments, 2);
  checkOptions("mergeLora", options, MERGE);
  if (!(module instanceof nn.Module)) throw new ArgumentError("mergeLora", "a module", module);
  if (module instanceof LoRALinear)
    throw new ArgumentError("mergeLora", "a module with adapters inside", module, "Use mergedWeight() of one layer.");
  let count = 0;
  replaceChildren(module, (child) => {
    if (!(child instanceof LoRALinear)) return null;
    count++;
    const { base } = child;
    const dtype =
      options.dtype ?? (base.weight.isFloatingPoint() ? base.weight.dtype : (base.bias?.dtype ?? "float32"));
    const linear = new nn.Linear(base.inFeatures, base.outFeatures, {
      bias: base.bias !== null,
      dtype,
      device: base.weight.device,
    });
    scope(() =>
      noGrad(() => {
        linear.weight.copy_(child.mergedWeight(dtype));
        if (base.bias !== null) linear.bias?.copy_(base.bias);
      }),
    );
    return linear;
  });
  return count;
}
