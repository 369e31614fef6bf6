/** `nn.attention`: which kernels compute scaled dot product attention. */
import { ArgumentError } from "../errors.js";
import { getSwitch, setSwitch } from "../backend.js";
import { callable, flag } from "../kinds.js";
import { checkArguments, optionsFrom, type OptionNames } from "../options.js";
import { isPromise, refusePromise } from "../synchronous.js";

/** The ways to compute `scaledDotProductAttention`. */
export const SDPBackend = Object.freeze({
  /** None may be taken. */
  ERROR: -1,
  /** Products and a softmax one after the other, on every device. */
  MATH: 0,
  /** Dao, 2023. */
  FLASH_ATTENTION: 1,
  /** Rabe and Staats, 2021. */
  EFFICIENT_ATTENTION: 2,
  CUDNN_ATTENTION: 3,
  /** One that a device brings with it. */
  OVERRIDEABLE: 4,
} as const);
export type SDPBackend = (typeof SDPBackend)[keyof typeof SDPBackend];

type Usable = Exclude<SDPBackend, -1>;
const SWITCHES = ["sdpMath", "sdpFlash", "sdpMemEfficient", "sdpCudnn", "sdpOverrideable"] as const;
/** As libtorch begins. Nobody else changes it. */
let order: readonly Usable[] = [1, 2, 0, 3, 4];

export interface SdpaKernelOptions {
  /** The first backend that can compute a call in the order of the list, instead of libtorch's. Default false. */
  readonly setPriority?: boolean;
}
const OPTIONS: OptionNames<SdpaKernelOptions> = { setPriority: flag };
type Backends = SDPBackend | readonly SDPBackend[];

/**
 * Run `fn`, in which only some kernels compute `scaledDotProductAttention`, and what stands on it, such as
 * `MultiheadAttention` without weights. Afterwards it is as before. For the whole process; costs nothing. A call that none
 * of them can compute throws libtorch's error. On the CPU there are MATH and FLASH_ATTENTION; attention in 16 bit is
 * computed there by kernels of ours whichever is chosen, unless `setCpuKernels("libtorch")` is called.
 *
 * @param backends - One of {@link SDPBackend}, or several.
 * @returns What `fn` returns.
 * @throws {ArgumentError} `sdpaKernel: expected backends to be an SDPBackend, or an array of them. Received: 9.`
 * @example
 * nn.attention.sdpaKernel(nn.attention.SDPBackend.MATH, () => model.forward(x));
 * nn.attention.sdpaKernel([SDPBackend.CUDNN_ATTENTION, SDPBackend.MATH], { setPriority: true }, () => model.forward(x));
 */
export function sdpaKernel<T>(backends: Backends, fn: () => T): T;
export function sdpaKernel<T>(backends: Backends, setPriority: boolean | SdpaKernelOptions, fn: () => T): T;
export function sdpaKernel<T>(backends: Backends, ...rest: readonly unknown[]): T {
  const name = "sdpaKernel";
  const last = typeof rest[0] === "function" ? 0 : 1;
  const fn = rest[last] as () => T;
  checkArguments(name, { fn }, { fn: callable });
  const others = rest.filter((_, i) => i !== last);
  const { setPriority = false } = optionsFrom(name, 1, others, OPTIONS, last);
  const chosen = listOf(name, backends);
  const before = { on: SWITCHES.map((each) => getSwitch(each)), order };
  try {
    SWITCHES.forEach((each, backend) => setSwitch(each, chosen.includes(backend as Usable)));
    if (setPriority) prefer([...chosen, ...order.filter((each) => !chosen.includes(each))]);
    const result = fn();
    if (isPromise(result))
      refusePromise(
        result,
        `${name}: expected a synchronous function. Received: a function that returns a promise: the kernels are as before when its code after an await runs.`,
        "ERR_ASYNC_MODE",
      );
    return result;
  } finally {
    SWITCHES.forEach((each, i) => setSwitch(each, before.on[i] === true));
    if (setPriority) prefer(before.order);
  }
}

function listOf(fn: string, backends: unknown): readonly Usable[] {
  const list: readonly unknown[] = Array.isArray(backends) ? backends : [backends];
  if (list.length === 0 || list.some((each) => typeof each !== "number" || SWITCHES[each] === undefined))
    throw new ArgumentError(fn, "backends to be an SDPBackend, or an array of them", backends);
  return [...new Set(list as readonly Usable[])];
}

/** The last to be put in front is the first. */
function prefer(next: readonly Usable[]): void {
  for (const backend of [...next].reverse()) setSwitch(`${SWITCHES[backend]}First`, true);
  order = next;
}
