/** One state of a parameter as a state dict has it, in whatever format it was saved. */
import { finfo, isTensor, NbitError, type optim, type Tensor } from "@nbit/torch";
import { decodeWith, FORMATS } from "./format.js";

export interface SavedState {
  readonly value: Tensor;
  /** Null when the value is in float32 or another plain dtype. */
  readonly absmax: Tensor | null;
  readonly map: Tensor | null;
  readonly blockSize: number;
}

/** What a state dict says of one parameter: tensors by key, and refusals in terms of the parameter. */
class StateOfParameter {
  readonly #of: string;

  constructor(
    readonly refuse: optim.Refuse,
    readonly state: Readonly<Record<string, unknown>>,
    readonly parameter: Tensor,
    position: number,
  ) {
    this.#of = `of parameter ${position}, which has shape [${parameter.shape.join(", ")}]`;
  }

  dense(key: string): Tensor {
    const t = this.state[key];
    if (!isTensor(t))
      return this.refuse(
        `${key} ${this.#of}, to be a tensor`,
        t === undefined ? `keys ${Object.keys(this.state).join(", ")}` : typeof t,
      );
    if (t.disposed) return this.refuse(`${key} ${this.#of}`, "a disposed tensor");
    if (t.layout !== "strided") this.refuse(`${key} ${this.#of}, to be a dense tensor`, `a ${t.layout} one`);
    return t.detach();
  }

  wrong(what: string, received: Tensor): never {
    return this.refuse(`${what} ${this.#of}`, `${received.dtype} of shape [${received.shape.join(", ")}]`);
  }

  /** One element for each of the parameter's: in its shape, or flat. */
  matches(t: Tensor): boolean {
    return (t.dim() === 1 && t.numel() === this.parameter.numel()) || String(t.shape) === String(this.parameter.shape);
  }
}

function savedMap(saved: StateOfParameter, key: string): Tensor | null {
  if (saved.state[key] === undefined) return null;
  const map = saved.dense(key);
  if (!(map.isFloatingPoint() && (map.numel() === 16 || map.numel() === 256) && map.isfinite().all().item()))
    saved.wrong(`${key} of 16 or 256 finite numbers`, map);
  return map;
}

function checkCodes(saved: StateOfParameter, key: string, codes: Tensor, map: Tensor | null): void {
  if (codes.dtype !== (map === null ? "float8_e4m3fn" : "uint8"))
    saved.wrong(`${key} in ${map === null ? "float8_e4m3fn, as there is no qmap" : "uint8, with a qmap"},`, codes);
  const small = map?.numel() === 16;
  if (small ? codes.numel() !== Math.ceil(saved.parameter.numel() / 2) : !saved.matches(codes))
    saved.wrong(`${key} with ${small ? "two codes a byte" : "one code each"}`, codes);
}

function savedBlockSize(saved: StateOfParameter, key: string, absmax: Tensor): number {
  const blocks = (size: number): number => Math.ceil(saved.parameter.numel() / size);
  const size = saved.state["blockSize"] ?? USUAL.find((b) => blocks(b) === absmax.numel()) ?? 0;
  if (typeof size === "number" && Number.isInteger(size) && size >= 1 && blocks(size) === absmax.numel()) return size;
  return saved.wrong(
    `${key} with one value per block${typeof size === "number" && size > 0 ? ` of ${size}` : ""}`,
    absmax,
  );
}

/** State `i` (from 0) of the parameter at a position, with every kind and size checked against the parameter's. */
export function savedState(
  refuse: optim.Refuse,
  s: Readonly<Record<string, unknown>>,
  i: number,
  p: Tensor,
  position: number,
): SavedState {
  const [name, absmaxName, mapName] = [`state${i + 1}`, `absmax${i + 1}`, `qmap${i + 1}`];
  const saved = new StateOfParameter(refuse, s, p, position);
  const value = saved.dense(name);
  if (s[absmaxName] === undefined) {
    if (!value.isFloatingPoint() || value.dtype.startsWith("float8") || !saved.matches(value))
      saved.wrong(`${name} in floating point, with as many elements`, value);
    return { value, absmax: null, map: null, blockSize: 1 };
  }
  const absmax = saved.dense(absmaxName);
  const map = savedMap(saved, mapName);
  checkCodes(saved, name, value, map);
  const blockSize = savedBlockSize(saved, absmaxName, absmax);
  if (!absmax.isFloatingPoint() || !absmax.isfinite().logicalAnd(absmax.ge(0)).all().item())
    saved.wrong(`${absmaxName} of finite numbers ≥ 0`, absmax);
  return { value, absmax, map, blockSize };
}
/** Block sizes of checkpoints that do not say theirs. */
const USUAL = [256, 2048, 4096, 1024, 512, 128, 64];

/** In float32, in the parameter's shape. */
export function widened({ value, absmax, map, blockSize }: SavedState, p: Tensor): Tensor {
  if (absmax === null) return value.to({ dtype: "float32", device: p.device }).reshape([...p.shape]);
  const q = { codes: value.to(p.device), absmax: absmax.to(p.device).reshape([-1]), shape: p.shape, blockSize };
  if (value.dtype === "float8_e4m3fn") return FORMATS.float8.dequantize(q, true);
  if (map === null)
    throw new NbitError(`loadStateDict: expected a qmap beside an absmax. Received: none.`, "OPTIMIZER_STATE");
  return decodeWith(map.to({ dtype: "float32", device: p.device }), q);
}

/** Whether codes mean the same under both maps. */
export function sameMap(saved: Tensor | null, own: unknown): boolean {
  if (saved === null || !isTensor(own)) return saved === null && !isTensor(own);
  // Published maps are written with different roundings of the same numbers.
  return (
    saved.numel() === own.numel() &&
    saved.to({ dtype: "float32", device: own.device }).sub(own).abs().max().item() <= finfo("float32").eps
  );
}
