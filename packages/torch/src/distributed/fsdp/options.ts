/** What can be asked of sharding. */
import { ArgumentError } from "../../errors.js";
import { callable, filled, flag, instanceOf, listOf, oneOf, orNull, such, whole } from "../../kinds.js";
import { Module } from "../../nn/module.js";
import { checkOptions, type OptionNames } from "../../options.js";
import { isFloatingPoint, type DType } from "../../tensor/dtype.js";
import { device as deviceOf, type Device, type DeviceLike } from "../../tensor/device.js";
import type { Tensor } from "../../tensor/tensor.js";
import { deviceKind, dtypeKind } from "../../tensor/kinds.js";
import { groupOf, type ProcessGroup } from "../group.js";

/** In which dtypes parameters and gradients travel, as PyTorch's. */
export interface MixedPrecisionPolicyOptions {
  /** Of gathered parameters, in which forward and backward compute. Default null: the parameters' own. */
  readonly paramDtype?: DType | null;
  /**
   * In which gradients are averaged. Default null: float32, or float64 where parameters are. float16 divides by the
   * root of the number of ranks before and after.
   */
  readonly reduceDtype?: DType | null;
  /** Floating point outputs of the module are cast to it. Default null: as they are. */
  readonly outputDtype?: DType | null;
  /** Floating point arguments of units are cast to `paramDtype`. Default true. */
  readonly castForwardInputs?: boolean;
  /** Modules whose own parameters are gathered in their own dtype, such as BatchNorm's. Default null: none. */
  readonly except?: ((module: Module) => boolean) | null;
}
/** @internal A dtype of floating point. */
export const floating = {
  ...dtypeKind,
  accepts: (v: unknown): boolean => dtypeKind.accepts(v) && isFloatingPoint(v as DType),
};
const POLICY: OptionNames<MixedPrecisionPolicyOptions> = {
  paramDtype: orNull(floating),
  reduceDtype: orNull(floating),
  outputDtype: orNull(floating),
  castForwardInputs: flag,
  except: orNull(callable),
};
/** @example new MixedPrecisionPolicy({ paramDtype: "bfloat16" }) */
export class MixedPrecisionPolicy {
  readonly paramDtype: DType | null;
  readonly reduceDtype: DType | null;
  readonly outputDtype: DType | null;
  readonly castForwardInputs: boolean;
  readonly except: ((module: Module) => boolean) | null;

  constructor(options: MixedPrecisionPolicyOptions = {}) {
    checkOptions("MixedPrecisionPolicy", options, POLICY);
    this.paramDtype = options.paramDtype ?? null;
    this.reduceDtype = options.reduceDtype ?? null;
    this.outputDtype = options.outputDtype ?? null;
    this.castForwardInputs = options.castForwardInputs ?? true;
    this.except = options.except ?? null;
  }
}

/** Shards, their gradients and what optimizers remember of them live on the CPU; gathered parameters on the device. */
export class CPUOffloadPolicy {}

export type ModuleClass = abstract new (...args: never) => Module;

export interface FullyShardOptions {
  /** What is shared out: 1, what optimizers remember; 2, gradients too; 3, parameters too. Default 3. */
  readonly stage?: 1 | 2 | 3;
  /** Default: all processes. */
  readonly group?: ProcessGroup | null;
  readonly mpPolicy?: MixedPrecisionPolicy;
  readonly offloadPolicy?: CPUOffloadPolicy | null;
  /**
   * Stage 3: parameters of a unit are freed when its forward ends, and gathered again for its backward. Default true.
   * False: once per step, for the memory of all of them.
   */
  readonly reshardAfterForward?: boolean;
  /**
   * Which modules are units, whose parameters travel together: their classes, or a function. Default: the elements of
   * every ModuleList and Sequential, and siblings of one class that have layers. Parameters in no unit are the root's.
   */
  readonly shardModules?: readonly ModuleClass[] | ((module: Module, name: string) => boolean) | null;
  /** Methods of the module beside `forward` that use its parameters, such as "trainingStep". */
  readonly forwardMethods?: readonly string[];
  /** Device of gathered parameters. Default: that of the parameters. */
  readonly device?: DeviceLike | null;
  /**
   * Gradients become shards at every backward of an accumulation window, and are never whole beyond a unit. False: at
   * its last, with fewer messages, and whole gradients until then. Default: true from stage 2 on.
   */
  readonly reduceEveryBatch?: boolean;
  /**
   * Ranks tell each other which parameters had a gradient: one that had none on any rank is not stepped. False: all
   * have one, and where it is missing it is zero; saves a small message per backward. Default true.
   */
  readonly findUnusedParameters?: boolean;
  /** Shards of parameters of 4096 elements or more end at multiples of it: a low-bit optimizer's block. Default 256. */
  readonly blockSize?: number;
}

const functionOrClasses = such<NonNullable<FullyShardOptions["shardModules"]>>(
  "a function, or an array of classes",
  (v) => callable.accepts(v) || (Array.isArray(v) && v.length > 0 && v.every((c) => callable.accepts(c))),
);
const OPTIONS: OptionNames<FullyShardOptions> = {
  stage: oneOf(1, 2, 3),
  group: true,
  mpPolicy: instanceOf("a MixedPrecisionPolicy", MixedPrecisionPolicy),
  offloadPolicy: orNull(instanceOf("a CPUOffloadPolicy", CPUOffloadPolicy)),
  reshardAfterForward: flag,
  shardModules: orNull(functionOrClasses),
  forwardMethods: listOf(filled),
  device: orNull(deviceKind),
  reduceEveryBatch: flag,
  findUnusedParameters: flag,
  blockSize: whole("[1, 65536]"),
};

/** Options with their defaults, and who shares. */
export interface Settings {
  readonly stage: 1 | 2 | 3;
  readonly group: ProcessGroup;
  readonly policy: MixedPrecisionPolicy;
  /** Parameters that are gathered in their own dtype, whatever the policy says. */
  readonly excepted: ReadonlySet<Tensor>;
  readonly offload: boolean;
  readonly reshardAfterForward: boolean;
  readonly shardModules: FullyShardOptions["shardModules"];
  readonly forwardMethods: readonly string[];
  readonly device: Device;
  readonly reduceEveryBatch: boolean;
  readonly findUnusedParameters: boolean;
  readonly blockSize: number;
}

export function settingsOf(module: Module, options: FullyShardOptions): Settings {
  const fn = "fullyShard";
  if (!(module instanceof Module)) throw new ArgumentError(fn, "a Module", module);
  checkOptions(fn, options, OPTIONS);
  const stage = options.stage ?? 3;
  const given = (name: keyof FullyShardOptions): boolean => options[name] !== undefined && options[name] !== null;
  if (stage < 3 && given("reshardAfterForward"))
    throw new ArgumentError(fn, "reshardAfterForward with stage 3", `stage ${stage}`, "Other stages keep parameters.");
  if (stage < 3 && given("offloadPolicy"))
    throw new ArgumentError(fn, "offloadPolicy with stage 3", `stage ${stage}`, "Other stages keep parameters.");
  if (stage === 1 && options.reduceEveryBatch === true)
    throw new ArgumentError(fn, "reduceEveryBatch with stage 2 or 3", "stage 1", "Stage 1 keeps whole gradients.");
  const parameters = module.parameters();
  const [first] = parameters;
  if (first === undefined) throw new ArgumentError(fn, "a module with parameters", module);
  const policy = options.mpPolicy ?? new MixedPrecisionPolicy();
  const excepted = [...module.modules()].filter((m) => policy.except?.(m) === true);
  return {
    stage,
    group: groupOf(fn, options.group),
    policy,
    excepted: new Set(excepted.flatMap((m) => m.parameters(false))),
    offload: given("offloadPolicy"),
    reshardAfterForward: options.reshardAfterForward ?? true,
    shardModules: options.shardModules ?? null,
    forwardMethods: options.forwardMethods ?? [],
    device: options.device === undefined || options.device === null ? first.device : deviceOf(options.device, fn),
    reduceEveryBatch: options.reduceEveryBatch ?? stage > 1,
    findUnusedParameters: options.findUnusedParameters ?? true,
    blockSize: options.blockSize ?? 256,
  };
}
