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

/** State `i` (from 0) of the parameter at a position, with every kind and size checked against the parameter's. */
export function savedState(refuse: optim.Refuse, s: Readonly<Record<string, unknown>>, i: number, p: Tensor, position: number): SavedState {
  const name = `state${i + 1}`;
  const n = p.numel();
  const of = `of parameter ${position}, which has shape [${p.shape.join(", ")}]`;
  const dense = (key: string): Tensor => {
    const t = s[key];
    if (!isTensor(t)) return refuse(`${key} ${of}, to be a tensor`, t === undefined ? `keys ${Object.keys(s).join(", ")}` : typeof t);
    if (t.disposed) return refuse(`${key} ${of}`, "a disposed tensor");
    if (t.layout !== "strided") refuse(`${key} ${of}, to be a dense tensor`, `a ${t.layout} one`);
    return t.detach();
  };
  const value = dense(name);
  const wrong = (what: string, received: Tensor): never => refuse(`${what} ${of}`, `${received.dtype} of shape [${received.shape.join(", ")}]`);
  const flat = value.dim() === 1 && value.numel() === n;
  if (s[`absmax${i + 1}`] === undefined) {
    if (!value.isFloatingPoint() || value.dtype.startsWith("float8") || !(flat || String(value.shape) === String(p.shape))) wrong(`${name} in floating point, with as many elements`, value);
    return { value, absmax: null, map: null, blockSize: 1 };
  }
  const absmax = dense(`absmax${i + 1}`);
  const map = s[`qmap${i + 1}`] === undefined ? null : dense(`qmap${i + 1}`);
  if (map !== null && !(map.isFloatingPoint() && (map.numel() === 16 || map.numel() === 256) && map.isfinite().all().item())) wrong(`qmap${i + 1} of 16 or 256 finite numbers`, map);
  const small = map?.numel() === 16;
  if (value.dtype !== (map === null ? "float8_e4m3fn" : "uint8")) wrong(`${name} in ${map === null ? "float8_e4m3fn, as there is no qmap" : "uint8, with a qmap"},`, value);
  if (small ? value.numel() !== Math.ceil(n / 2) : !(flat || String(value.shape) === String(p.shape))) wrong(`${name} with ${small ? "two codes a byte" : "one code each"}`, value);
  const blockSize = s["blockSize"] ?? USUAL.find((b) => Math.ceil(n / b) === absmax.numel()) ?? 0;
  if (typeof blockSize !== "number" || !Number.isInteger(blockSize) || blockSize < 1 || Math.ceil(n / blockSize) !== absmax.numel()) return wrong(`absmax${i + 1} with one value per block${typeof blockSize === "number" && blockSize > 0 ? ` of ${blockSize}` : ""}`, absmax);
  if (!absmax.isFloatingPoint() || !absmax.isfinite().logicalAnd(absmax.ge(0)).all().item()) wrong(`absmax${i + 1} of finite numbers ≥ 0`, absmax);
  return { value, absmax, map, blockSize };
}
/** Block sizes of checkpoints that do not say theirs. */
const USUAL = [256, 2048, 4096, 1024, 512, 128, 64];

/** In float32, in the parameter's shape. */
export function widened({ value, absmax, map, blockSize }: SavedState, p: Tensor): Tensor {
  if (absmax === null) return value.to({ dtype: "float32", device: p.device }).reshape([...p.shape]);
  const q = { codes: value.to(p.device), absmax: absmax.to(p.device).reshape([-1]), shape: p.shape, blockSize };
  if (value.dtype === "float8_e4m3fn") return FORMATS.float8.dequantize(q, true);
  if (map === null) throw new NbitError(`loadStateDict: expected a qmap beside an absmax. Received: none.`, "OPTIMIZER_STATE");
  return decodeWith(map.to({ dtype: "float32", device: p.device }), q);
}

/** Whether codes mean the same under both maps. */
export function sameMap(saved: Tensor | null, own: unknown): boolean {
  if (saved === null || !isTensor(own)) return saved === null && !isTensor(own);
  // Published maps are written with different roundings of the same numbers.
  return saved.numel() === own.numel() && saved.to({ dtype: "float32", device: own.device }).sub(own).abs().max().item() <= finfo("float32").eps;
}
