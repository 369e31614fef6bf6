/** Random number generators. */
import { ArgumentError, verbatim } from "../errors.js";
import { flag } from "../kinds.js";
import { deviceKind } from "../tensor/kinds.js";
import { argBuffer, native, readInteger, writeInteger } from "../native.js";
import { atMost, checkArguments } from "../options.js";
import { device as deviceOf, type Device, type DeviceLike } from "../tensor/device.js";
import { handleOrZero, isTensor, wrap } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";

const registry = new FinalizationRegistry<number>((id) => native.generatorFree(id));

/** @internal A seed as PyTorch reads it: negative ones count from 2^64. */
export function writeSeed(fn: string, seed: number | bigint, at: number): number {
  if (typeof seed !== "bigint" && !Number.isSafeInteger(seed))
    throw new ArgumentError(fn, "seed to be a whole number (a bigint beyond 2^53)", seed);
  if (typeof seed === "bigint" && (seed >= 1n << 64n || seed < -(1n << 63n)))
    throw new ArgumentError(fn, "seed to fit in 64 bits", seed);
  return writeInteger(seed, at);
}

/** Bytes of a CPU generator's state: PyTorch's, and those of versions before 1.6, which lack the last 8. */
const CPU_STATE = [5056, 5048];
/** Numbers that the generator (a Mersenne twister) makes at a time. */
const BLOCK = 624;

/**
 * libtorch believes what a state says of the place in the block of numbers, and would read behind its end.
 *
 * The bytes: seed (64 bits), numbers left (32), seeded (32), next (64), the block, and a normal sample that is kept,
 * with whether there is one.
 */
function checkCpuState(state: Tensor): void {
  const fail = (received: unknown): never => {
    throw new ArgumentError(
      "setState",
      "the state of a CPU generator, as getState() returns it",
      received,
      "Was the file that it comes from damaged?",
    );
  };
  if (state.dtype !== "uint8" || !CPU_STATE.includes(state.numel())) return; // which libtorch refuses
  const view = new DataView(state.toBytes());
  const left = view.getInt32(8, true);
  const next = view.getBigUint64(16, true);
  if (left < 1 || left > BLOCK || next > BigInt(BLOCK) || left + Number(next) > BLOCK + 1)
    fail(verbatim(`${left} numbers left from number ${next}`));
  if (view.byteLength === CPU_STATE[0] && view.getUint8(view.byteLength - 4) > 1)
    fail(verbatim("a flag that is neither 0 nor 1"));
}

/** @internal */
export let isGenerator: (value: unknown) => value is Generator;
/** @internal */
export let generatorId: (generator: Generator) => number;

/**
 * A stream of random numbers of its own, equal to PyTorch's for the same seed.
 * @example randperm(10, { generator: new Generator().manualSeed(7) })
 */
export class Generator {
  readonly #id: number;
  readonly device: Device;

  static {
    isGenerator = (value): value is Generator => typeof value === "object" && value !== null && #id in value;
    generatorId = (generator) => generator.#id;
  }

  constructor(device: DeviceLike = "cpu", isDefault = false) {
    atMost("Generator", arguments, 2);
    checkArguments("Generator", { device, isDefault }, { device: deviceKind, isDefault: flag });
    this.device = deviceOf(device, "Generator");
    this.#id = native.generatorCreate(this.device.code, isDefault === true);
    registry.register(this, this.#id);
  }
  manualSeed(seed: number | bigint): this {
    atMost("Generator.manualSeed", arguments, 1);
    const id = this.#id;
    argBuffer[0] = writeSeed("manualSeed", seed, 2);
    argBuffer[1] = id;
    native.generatorSetSeed();
    return this;
  }
  /** The seed that this stream began with. */
  initialSeed(): bigint {
    atMost("Generator.initialSeed", arguments, 0);
    native.generatorSeed(this.#id);
    return BigInt.asUintN(64, BigInt(readInteger(0)));
  }
  /** Start over from a seed drawn from the system; returns it. */
  seed(): bigint {
    atMost("Generator.seed", arguments, 0);
    native.generatorReseed(this.#id);
    return BigInt.asUintN(64, BigInt(readInteger(0)));
  }
  /** @internal Become a copy of another stream: cheaper than a state, which is a tensor of 5 kB. */
  copyFrom(other: Generator): this {
    native.generatorCopy(other.#id, this.#id);
    return this;
  }
  /** uint8 tensor: PyTorch's own format. */
  getState(): Tensor {
    atMost("Generator.getState", arguments, 0);
    return wrap(native.generatorGetState(this.#id));
  }
  setState(state: Tensor): this {
    atMost("Generator.setState", arguments, 1);
    if (!isTensor(state)) throw new ArgumentError("setState", "state to be a tensor from getState()", state);
    if (this.device.type === "cpu") checkCpuState(state);
    native.generatorSetState(this.#id, handleOrZero(state));
    return this;
  }
}
