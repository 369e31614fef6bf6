/** Tensors as make_fixtures.py records them: dtype, shape, the product with a fixed vector, and the norm. */
import { keep, tensor, viewAsReal, type Tensor } from "@nbit/torch";
import { hashed } from "../../helpers/formula-input.js";

/** A number, or "nan", "inf", "-inf". */
export type Numeral = number | string;
export type Digest =
  readonly [dtype: string, shape: readonly number[], product: Numeral, norm: Numeral] | readonly ["number", Numeral];

const factors = new Map<number, Tensor>();
function factorsOf(n: number): Tensor {
  let w = factors.get(n);
  if (w === undefined) factors.set(n, (w = keep(tensor(hashed(7, n).map((u) => u * 2 - 1)))));
  return w;
}
export function numeral(x: number): Numeral {
  return Number.isFinite(x) ? x : Number.isNaN(x) ? "nan" : x > 0 ? "inf" : "-inf";
}
export function digest(t: Tensor): Digest {
  const dense = t.isSparse ? t.coalesce().toDense() : t;
  const values = dense.detach().to("cpu");
  const flat = (values.isComplex() ? viewAsReal(values.resolveConj()) : values).reshape([-1]).to("float64");
  return [t.dtype, [...t.shape], numeral(flat.dot(factorsOf(flat.numel())).item()), numeral(flat.norm().item())];
}

/** In what two digests differ by more than `tolerance` of the norm. */
export function fromNumbers(
  expected: Digest,
  received: Digest | null | undefined,
  tolerance: number,
  compared: { readonly dtypes: boolean; readonly values: boolean },
): string[] {
  if (received === null || received === undefined) return [`nothing, PyTorch ${String(expected[0])}`];
  const [kind, shape] = received;
  if (kind !== expected[0] && compared.dtypes) return [`${kind}, PyTorch ${expected[0]}`];
  if (String(shape) !== String(expected[1]) && kind !== "number")
    return [`shape [${String(shape)}], PyTorch [${String(expected[1])}]`];
  if (!compared.values) return [];
  const scale = Math.max(Math.abs(Number(expected.at(-1))) || 0, 1e-30);
  const far = (a: unknown, b: unknown): boolean =>
    typeof a === "number" && typeof b === "number" ? Math.abs(a - b) > tolerance * scale + 1e-12 : a !== b;
  for (let i = kind === "number" ? 1 : 2; i < expected.length; i++)
    if (far(expected[i], received[i]))
      return [`${["", "number", "product", "norm"][i] ?? ""} ${String(received[i])}, PyTorch ${String(expected[i])}`];
  return [];
}
