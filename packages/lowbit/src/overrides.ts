/** Which parameters keep 32-bit state whatever their size. */
import { atMost, ArgumentError, isTensor, nn, optim, type Tensor } from "@nbit/torch";

const overrides = new WeakMap<Tensor, 32>();

/** @internal Of the parameter, where a master is stepped in its place. */
export function overrideFor(p: Tensor): 32 | undefined {
  return overrides.get(optim.parameterOfMaster(p));
}

/**
 * Keep the state of some parameters in 32 bits: a parameter, a module (all of its parameters), or paths in a module
 * with `*` for any part. State that exists already stays as it is: call this before the first step.
 * @returns Names of what matched (empty names for bare parameters).
 * @throws {ArgumentError} when a pattern, or a module, has no parameter to keep: it would be a silent mistake.
 * @example keep32bit(model, ["embed.*", "head.weight"]);
 */
export function keep32bit(target: Tensor | nn.Module, patterns?: readonly string[]): string[] {
  atMost("keep32bit", arguments, 2);
  if (!(target instanceof nn.Module)) {
    if (!isTensor(target)) throw new ArgumentError("keep32bit", "a parameter or a module", target);
    overrides.set(target, 32);
    return [""];
  }
  const all = [...target.namedParameters()];
  if (all.length === 0) throw new ArgumentError("keep32bit", "a module with parameters", target);
  if (patterns?.length === 0)
    throw new ArgumentError(
      "keep32bit",
      "at least one pattern",
      patterns,
      "Leave patterns out to keep all of the module's parameters.",
    );
  if (patterns === undefined) {
    for (const [, p] of all) overrides.set(p, 32);
    return all.map(([name]) => name);
  }
  const matched = new Set<string>();
  for (const pattern of patterns) {
    const expression = new RegExp(
      `^${pattern
        .split("*")
        .map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&"))
        .join(".*")}$`,
    );
    const hits = all.filter(([name]) => expression.test(name));
    if (hits.length === 0)
      throw new ArgumentError(
        "keep32bit",
        `patterns that match parameters (${all
          .slice(0, 6)
          .map(([n]) => n)
          .join(", ")}, …)`,
        pattern,
      );
    for (const [name, p] of hits) {
      overrides.set(p, 32);
      matched.add(name);
    }
  }
  return [...matched];
}

/**
 * An embedding whose optimizer state stays in 32 bits, drawn by Xavier's rule and normalised: rows that are seen rarely
 * have gradients of very different sizes, which 8 bits keep badly.
 * @see Dettmers et al., 2022, arXiv:2110.02861, section 2.3.
 */
export class StableEmbedding extends nn.Module {
  readonly weight: nn.Parameter;
  readonly norm: nn.LayerNorm;
  constructor(
    readonly numEmbeddings: number,
    readonly embeddingDim: number,
  ) {
    atMost("StableEmbedding", arguments, 2);
    super();
    const table = new nn.Embedding(numEmbeddings, embeddingDim);
    this.weight = table.weight;
    this.norm = new nn.LayerNorm(embeddingDim);
    nn.init.xavierUniform_(this.weight);
    keep32bit(this.weight);
  }
  forward(indices: Tensor): Tensor {
    atMost("StableEmbedding.forward", arguments, 1);
    return this.norm.forward(nn.functional.embedding(indices, this.weight).to(this.norm.weight?.dtype ?? "float32"));
  }
}
