/** What strategies of several processes have in common: joining, equal modules, agreements. */
import { checkOptions, Device, device as deviceOf, empty, kinds, scope, tensor, verbatim } from "@nbit/torch";
import type { DeviceLike, nn, optim, OptionNames, Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { isError } from "@nbit/torch/realm";
import { onDevice, pickGiven } from "../collections.js";
import { MisconfigurationError, misconfigured } from "../errors.js";
import type { Precision } from "../precision/precision.js";
import type { Batch } from "../types.js";
import type { Collectives, GradientSync, Strategy } from "./strategy.js";

/** Options of every strategy of several processes. */
export interface ParallelOptions {
  /** Default: gloo for tensors on the CPU, NCCL on CUDA. */
  readonly processGroupBackend?: dist.Backend;
  /** How long a process may wait for the others, in ms. Default 600,000. */
  readonly timeout?: number;
  /** How long a process may give no sign of life, in ms. Default 10,000. */
  readonly heartbeatTimeout?: number;
  /** How long to wait for all processes to come, in ms. Default 300,000. */
  readonly connectTimeout?: number;
  /**
   * How checkpoints are saved: "full" (default), one file by process 0; "sharded", a folder to which every process writes
   * a part. Either is read by any number of processes and any strategy; `nbit consolidate` makes a file of a folder.
   */
  readonly stateDictType?: "full" | "sharded";
}

const collectives: Collectives = {
  agree: (flag) => collectives.greatest(flag ? 1 : 0) !== 0,
  greatest: (value) =>
    scope(() => {
      const values = tensor([value], { dtype: "float64" });
      dist.allReduce(values, { op: "max" });
      return values.item();
    }),
  reduce(values, op) {
    dist.allReduce(values, { op });
  },
  broadcastObject: (value) => dist.broadcastObject(value),
  allGatherObject: (value) => dist.allGatherObject(value),
  gatherBytes,
  barrier: () => {
    dist.barrier();
  },
};

/** Of what travels in one message. */
const MESSAGE = 256 << 20;

/** One process after the other, so that none has room for more than its own but process 0. */
function gatherBytes(mine: Uint8Array): Uint8Array[] | null {
  const sizes = dist.allGatherObject(mine.length);
  const rank = dist.getRank();
  if (rank !== 0) {
    for (let at = 0; at < mine.length; at += MESSAGE) {
      const piece = mine.subarray(at, at + MESSAGE);
      scope(() => dist.send(tensor(piece), 0));
    }
    return null;
  }
  return sizes.map((size, from) => {
    if (from === 0) return mine;
    const bytes = new Uint8Array(size);
    for (let at = 0; at < size; at += MESSAGE)
      scope(() => {
        const piece = empty([Math.min(MESSAGE, size - at)], { dtype: "uint8" });
        dist.recv(piece, from);
        bytes.set(new Uint8Array(piece.toBytes()), at);
      });
    return bytes;
  });
}

/** @internal Rows of them, for the options of a strategy. */
export const PARALLEL_OPTIONS: OptionNames<ParallelOptions> = {
  processGroupBackend: kinds.oneOf("gloo", "nccl", "cpu:gloo,cuda:nccl"),
  timeout: kinds.whole("[1, 1000000000]"),
  heartbeatTimeout: kinds.whole("[1000, 1000000000]"),
  connectTimeout: kinds.whole("[1, 1000000000]"),
  stateDictType: kinds.oneOf("full", "sharded"),
};

/** @internal Arguments of a strategy's constructor: options alone, or a device before them. */
export function deviceAndOptions<O extends object>(
  where: string,
  first: DeviceLike | O,
  second: O,
  names: OptionNames<O>,
): { readonly device: Device | null; readonly options: O } {
  const hasDevice = typeof first === "string" || first instanceof Device;
  const options = hasDevice ? second : first;
  checkOptions<O>(where, options, names, misconfigured(where, "ERR_STRATEGY_OPTION"));
  return { device: hasDevice ? deviceOf(first, where) : null, options };
}

/** One process for each device, started by a launcher, all with the same script. */
export abstract class ParallelStrategy implements Strategy {
  abstract readonly name: string;
  readonly #cluster = dist.clusterEnvironment();
  readonly #options: ParallelOptions;
  /** Asked for; null: the Trainer's. */
  readonly #asked: Device | null;
  #device: Device | null;

  constructor(device: Device | null, options: ParallelOptions) {
    this.#asked = this.#device = device;
    this.#options = options;
  }

  get rootDevice(): Device {
    if (this.#device !== null) return this.#device;
    throw new MisconfigurationError(
      this.constructor.name,
      "a Trainer, whose device it takes",
      verbatim("a strategy of none"),
      `Pass it as new Trainer({ strategy }), or make it for a device: new ${this.constructor.name}("cpu").`,
      "ERR_STRATEGY_DEVICE",
    );
  }

  onDevice(device: Device): void {
    const mine = this.#asked;
    if (mine === null) this.#device = device;
    else if (mine.type !== device.type || (mine.index ?? device.index) !== device.index)
      throw new MisconfigurationError(
        "Trainer",
        `a strategy for ${JSON.stringify(device.toString())}, the device of this process`,
        verbatim(`${this.constructor.name} for ${JSON.stringify(mine.toString())}`),
        `Leave the device out: new ${this.constructor.name}(options).`,
        "ERR_STRATEGY_DEVICE",
      );
  }

  get globalRank(): number {
    return dist.isInitialized() ? dist.getRank() : (this.#cluster?.rank ?? 0);
  }
  get worldSize(): number {
    return dist.isInitialized() ? dist.getWorldSize() : (this.#cluster?.worldSize ?? 1);
  }
  get isGlobalZero(): boolean {
    return this.globalRank === 0;
  }
  get localRank(): number {
    return this.#cluster?.localRank ?? 0;
  }
  get nodeRank(): number {
    return this.#cluster?.nodeRank ?? 0;
  }
  get numNodes(): number {
    return this.#cluster?.numNodes ?? 1;
  }

  get stateDictType(): "full" | "sharded" {
    return this.#options.stateDictType ?? "full";
  }

  async connect(): Promise<void> {
    if (dist.isInitialized()) return;
    const { processGroupBackend: backend } = this.#options;
    const limits = pickGiven(this.#options, ["timeout", "heartbeatTimeout", "connectTimeout"]);
    const alone = this.#cluster === null ? { rank: 0, worldSize: 1, initMethod: "tcp://127.0.0.1:0" } : {};
    await dist.initProcessGroup({ ...limits, ...alone, ...(backend === undefined ? {} : { backend }) });
    leaveAtTheEnd();
  }

  setupModule(module: nn.Module): void {
    module.to({ device: this.rootDevice });
    sameInAll(module);
  }

  checkPrecision(_precision: Precision, _validationPrecision: Precision | null): void {}
  /** Why steps cannot be recorded in a CUDA graph; null: they can. */
  readonly graphObstacle: string | null = null;
  setupOptimizers(_module: nn.Module, _optimizers: readonly optim.Optimizer[]): void {}
  setupGradients(_module: nn.Module, _manual: boolean): void {}

  toDevice(batch: Batch): Batch {
    return onDevice(batch, this.rootDevice);
  }

  abstract readonly gradients: GradientSync | null;

  get collectives(): Collectives | null {
    return dist.isInitialized() && dist.getWorldSize() > 1 ? collectives : null;
  }

  step(globalStep: number): void {
    dist.setStep(globalStep);
  }
  fail(error: unknown): void {
    if (dist.isInitialized()) dist.reportFailure(isError(error) ? `${error.name}: ${error.message}` : String(error));
  }
  endRun(): void {}
}

/** Processes stay joined from one run to the next, and part when all have nothing left to do. */
let leaving = false;
function leaveAtTheEnd(): void {
  if (leaving) return;
  leaving = true;
  process.once("beforeExit", () => {
    void dist.destroyProcessGroup().catch((error: unknown) => {
      console.error(isError(error) ? error.message : error);
      process.exitCode ||= 1;
    });
  });
}

/** Parameters and buffers of process 0 for all, where all have the same names, shapes and dtypes. */
function sameInAll(module: nn.Module): void {
  if (dist.getWorldSize() === 1) return;
  const named: (readonly [string, Tensor])[] = [...module.namedParameters(), ...module.namedBuffers()];
  const mine = named.map(([name, t]) => `${name}: ${t.dtype}[${t.shape.join(", ")}]`);
  dist.allGatherObject(mine).forEach((theirs, rank) => {
    const at = mine.findIndex((line, i) => line !== theirs[i]);
    if (at === -1 && theirs.length === mine.length) return;
    const [here, there] = at === -1 ? ["nothing more", theirs[mine.length]] : [mine[at], theirs[at] ?? "nothing more"];
    throw new MisconfigurationError(
      "strategy",
      "the same model in every process",
      verbatim(`${there} in that of rank ${rank}, where rank ${dist.getRank()} has ${here}`),
      "Every process runs the same script: look where it asks for its rank, or draws random sizes.",
      "ERR_DIST_MODEL",
    );
  });
  dist.broadcastCoalesced(named.map(([, t]) => t.detach()));
}
