import { optim, type nn } from "@nbit/torch";
import { anyRecord, fieldsOf, flag, listOf, optional, recordOf, text, type TypeOf } from "@nbit/torch/schema";
import { checkState, damaged } from "../checkpoint/schema.js";
import type { LightningModule } from "../module.js";
import { isBatchNorm } from "./batch-norms.js";

const STATE = fieldsOf({
  /** Per optimizer. */
  groups: listOf(listOf(fieldsOf({ params: listOf(text), options: anyRecord }))),
  /** Whether parameters are trained, by name. */
  trained: recordOf(flag),
  /** Whether batch norms follow statistics, by name of the module. */
  tracked: recordOf(flag),
});
type State = TypeOf<typeof STATE>;

/** What of a module is trained, and the groups of its optimizers, by names: to have them again where a run goes on. */
export class GroupsByName {
  #module: LightningModule | null = null;
  #optimizers: readonly optim.Optimizer[] = [];
  #saved: State | null = null;

  /** A fit has its optimizers: as they are, or with what a checkpoint had in addition. */
  begin(module: LightningModule, optimizers: readonly optim.Optimizer[]): void {
    this.#module = module;
    this.#optimizers = optimizers;
    const saved = this.#saved;
    this.#saved = null;
    if (saved === null) return;
    const byName = new Map<string, nn.Parameter>(module.namedParameters());
    for (const [name, p] of byName) p.requiresGrad = saved.trained[name] ?? p.requiresGrad;
    for (const [name, norm] of module.namedModules())
      if (isBatchNorm(norm)) norm.trackRunningStats = saved.tracked[name] ?? norm.trackRunningStats;
    optimizers.forEach((optimizer, i) => {
      for (const { params, options } of (saved.groups[i] ?? []).slice(optimizer.paramGroups.length))
        optimizer.addParamGroup({ ...options, params: params.map((name) => named(byName, name)) });
    });
  }

  stateDict(): Record<string, unknown> | null {
    const module = this.#module;
    if (module === null) return null;
    const names = new Map<unknown, string>(Array.from(module.namedParameters(), ([name, p]) => [p, name]));
    const groups = this.#optimizers.map((optimizer) =>
      optimizer.paramGroups.map(({ params, ...options }) => ({
        params: params.map((p) => names.get(optim.parameterOfMaster(p)) ?? ""),
        options: plainOnly(options),
      })),
    );
    const trained = Object.fromEntries(Array.from(module.namedParameters(), ([name, p]) => [name, p.requiresGrad]));
    const tracked = Object.fromEntries(
      [...module.namedModules()].flatMap(([name, m]) => (isBatchNorm(m) ? [[name, m.trackRunningStats] as const] : [])),
    );
    return { groups, trained, tracked } satisfies State;
  }

  loadStateDict(where: string, state: unknown): void {
    this.#saved = checkState(where, fieldsOf({ state: optional(STATE) }), { state: state ?? undefined }).state ?? null;
  }
}

function named(byName: ReadonlyMap<string, nn.Parameter>, name: string): nn.Parameter {
  const found = byName.get(name);
  if (found === undefined)
    throw damaged("fit", "names of parameters that the module has in the groups of optimizers", name);
  return found;
}

/** Options as they are saved; the optimizer's own state dict has the rest of them. */
function plainOnly(options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const plain = (v: unknown): boolean =>
    v === null || ["number", "boolean", "string"].includes(typeof v) || (Array.isArray(v) && v.every(plain));
  return Object.fromEntries(Object.entries(options).filter(([, value]) => plain(value)));
}
