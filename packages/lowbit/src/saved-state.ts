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

/** State `i` (from 0), with every size checked against the parameter's. @throws {NbitError} `OPTIMIZER_STATE`. */
export function savedState(fn: string, s: optim.ParameterState, i: number, p: Tensor): SavedState {
  const name = `state${i + 1}`;
  const value = s[name];
  if (!isTensor(value)) throw new NbitError(`${fn}: expected ${name}. Received: keys ${Object.keys(s).join(", ")}.`, "OPTIMIZER_STATE");
  const [absmax, map] = [s[`absmax${i + 1}`], s[`qmap${i + 1}`]];
  const n = p.numel();
  const wrong = (expected: string, received: string): NbitError => new NbitError(`${fn}: expected ${expected} for a parameter of ${n} elements. Received: ${received}.`, "OPTIMIZER_STATE");
  if (!isTensor(absmax)) {
    if (value.numel() !== n) throw wrong(`${name} with as many`, `shape [${value.shape.join(", ")}]`);
    return { value, absmax: null, map: null, blockSize: 1 };
  }
  const small = isTensor(map) && map.numel() <= 16;
  if (value.numel() !== (small ? Math.ceil(n / 2) : n)) throw wrong(`${name} with ${small ? "two codes a byte" : "one code each"}`, `${value.numel()} codes`);
  const blockSize = typeof s["blockSize"] === "number" ? s["blockSize"] : (USUAL.find((b) => Math.ceil(n / b) === absmax.numel()) ?? 0);
  if (blockSize < 1 || Math.ceil(n / blockSize) !== absmax.numel()) throw wrong(`absmax${i + 1} with one value per block${blockSize > 0 ? ` of ${blockSize}` : ""}`, `${absmax.numel()} values`);
  return { value, absmax, map: isTensor(map) ? map : null, blockSize };
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
