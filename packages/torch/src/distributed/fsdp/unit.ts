/** One unit: its flat buffers, and what happens to all of them together. */
import type { Module } from "../../nn/module.js";
import type { WeightCodes } from "../../nn/weight-codes.js";
import type { Tensor } from "../../tensor/tensor.js";
import { FlatGradients } from "./flat-gradients.js";
import { FlatParameters } from "./flat-parameters.js";
import type { Settings } from "./options.js";
import type { UnitPlan } from "./units.js";

/** Parameters that can lie in one buffer: of one dtype, trained or not, gathered in codes, in another dtype, or not. */
export function kindsOf(
  parameters: UnitPlan["parameters"],
  codes: ReadonlyMap<Tensor, unknown> = new Map(),
  excepted: ReadonlySet<Tensor> = new Set(),
): (readonly [string, Tensor])[][] {
  const kinds = new Map<string, (readonly [string, Tensor])[]>();
  for (const [path, p] of parameters) {
    const kind = `${p.dtype} ${p.requiresGrad} ${codes.has(p)} ${excepted.has(p)}`;
    const same = kinds.get(kind);
    if (same === undefined) kinds.set(kind, [[path, p]]);
    else same.push([path, p]);
  }
  return [...kinds.values()];
}

export class Unit {
  readonly name: string;
  readonly module: Module;
  readonly flats: readonly FlatParameters[];
  /** Of flats that are trained. */
  readonly gradients: readonly FlatGradients[];
  /** Gradients of the backward that runs were given to the others. */
  reduced = false;

  constructor(
    { name, module, parameters }: UnitPlan,
    settings: Settings,
    codes: ReadonlyMap<Tensor, WeightCodes> = new Map(),
  ) {
    this.name = name;
    this.module = module;
    this.flats = kindsOf(parameters, codes, settings.excepted).map(
      (same) => new FlatParameters(name, same, settings, codes),
    );
    this.gradients = this.flats.filter((flat) => flat.trained).map((flat) => new FlatGradients(flat, settings));
  }

  beginGather(): void {
    for (const flat of this.flats) flat.beginGather();
  }
  gather(): void {
    this.beginGather();
    for (const flat of this.flats) flat.gather();
  }
  reshard(): void {
    for (const flat of this.flats) flat.reshard();
  }
  get whole(): boolean {
    return this.flats.every((flat) => flat.state === "whole");
  }

  /** `last`: averaged next. */
  takeGradients(last: boolean): void {
    for (const g of this.gradients) g.take(last);
  }
  /** Gradients of a backward that is a rehearsal. */
  showGradients(look: (name: string, gradient: Tensor) => void): void {
    for (const g of this.gradients) g.show(look);
  }
  get hasGradients(): boolean {
    return this.gradients.some((g) => g.waiting);
  }
  beginReduce(): void {
    this.reduced = true;
    for (const g of this.gradients) g.begin();
  }
  waitReduce(): void {
    for (const g of this.gradients) g.wait();
  }
}
