/** A few extreme eigenpairs of a large symmetric matrix. */
import { noGrad } from "../autograd/modes.js";
import { ArgumentError } from "../errors.js";
import * as generated from "../generated/functions.js";
import * as linalg from "../generated/linalg.js";
import { byDefault, flag, oneOf, orNull, real, whole } from "../kinds.js";
import { signature, type Call } from "../signature.js";
import { scope } from "../tensor/scope.js";
import { tensorKind } from "../tensor/kinds.js";
import type { Tensor } from "../tensor/tensor.js";

export interface LobpcgArguments {
  /** `[…, m, m]`, symmetric; dense or sparse. */
  readonly A: Tensor;
  /** How many eigenpairs. Default: the columns of `X`, else 1. */
  readonly k?: number | null;
  /** Symmetric and positive definite: the problem is A x = λ B x. Default null: the identity. */
  readonly B?: Tensor | null;
  /** `[m, n]`: where to begin. Default: random. */
  readonly X?: Tensor | null;
  /** Columns of a random beginning, ≥ k. Default k. */
  readonly n?: number | null;
  /** A preconditioner, like the inverse of A. Default null. */
  readonly iK?: Tensor | null;
  /** Default 1000. */
  readonly niter?: number | null;
  /** Of residuals relative to the norms. Default: the root of the dtype's precision. */
  readonly tol?: number | null;
  /** The largest eigenvalues, or the smallest. Default true. */
  readonly largest?: boolean | null;
  /** PyTorch's two; here both orthonormalise, as "ortho" does. Default "ortho". */
  readonly method?: "basic" | "ortho" | null;
}
const COUNT = byDefault(null, orNull(whole("[1, ∞)")));
const MATRIX = byDefault(null, orNull(tensorKind));
const read = signature("lobpcg", {
  A: tensorKind,
  k: COUNT,
  B: MATRIX,
  X: MATRIX,
  n: COUNT,
  iK: MATRIX,
  niter: COUNT,
  tol: byDefault(null, orNull(real("(0, ∞)"))),
  largest: byDefault(null, orNull(flag)),
  method: byDefault(null, orNull(oneOf("basic", "ortho"))),
});
export type LobpcgCall = Call<
  LobpcgArguments,
  ["A", "k", "B", "X", "n", "iK", "niter", "tol", "largest", "method"],
  [
    A: Tensor,
    k?: number | null,
    B?: Tensor | null,
    X?: Tensor | null,
    n?: number | null,
    iK?: Tensor | null,
    niter?: number | null,
    tol?: number | null,
    largest?: boolean | null,
    method?: "basic" | "ortho" | null,
  ]
>;

interface Problem {
  readonly a: Tensor;
  readonly b: Tensor | null;
  readonly preconditioner: Tensor | null;
  readonly k: number;
  readonly niter: number;
  readonly tol: number;
  readonly largest: boolean;
}
const by = (matrix: Tensor | null, x: Tensor): Tensor => (matrix === null ? x : matrix.matmul(x));

/** An orthonormal basis, by B, of what columns span; directions that are hardly there are left out. */
function basis(columns: Tensor, b: Tensor | null): Tensor {
  const [values, vectors] = linalg.eigh(columns.mT.matmul(by(b, columns)));
  const largest = values.max().item();
  const first = values
    .le(largest * 1e-12)
    .sum()
    .item();
  const kept = values.size(0) - first;
  return columns.matmul(vectors.narrow(1, first, kept)).mul(values.narrow(0, first, kept).rsqrt());
}
/** The best eigenpairs within a space: values and vectors, the wanted first. */
function ritz(space: Tensor, p: Problem, n: number): readonly [Tensor, Tensor] {
  const [values, vectors] = linalg.eigh(space.mT.matmul(p.a.matmul(space)));
  const [e, z] = p.largest ? [values.flip([0]), vectors.flip([1])] : [values, vectors];
  return [e.narrow(0, 0, n), space.matmul(z.narrow(1, 0, n))];
}

function solve(p: Problem, start: Tensor): readonly [Tensor, Tensor] {
  const n = start.size(1);
  const norm = start.norm().item();
  const [normA, normB] = [p.a.matmul(start).norm().item() / norm, by(p.b, start).norm().item() / norm];
  let [e, x] = ritz(basis(start, p.b), p, n);
  let direction: Tensor | null = null;
  for (let i = 0; i < p.niter; i++) {
    const residual = p.a.matmul(x).sub(by(p.b, x).mul(e));
    const size = linalg.vectorNorm(x, 2, 0).mul(e.abs().mul(normB).add(normA));
    const converged = linalg.vectorNorm(residual, 2, 0).div(size).narrow(0, 0, p.k).lt(p.tol);
    if (converged.all().item() !== 0) break;
    const without = (columns: Tensor, of: Tensor): Tensor => columns.sub(of.matmul(of.mT.matmul(by(p.b, columns))));
    const search = basis(without(by(p.preconditioner, residual), x), p.b);
    const parts: Tensor[] = direction === null ? [x, search] : [x, search, basis(direction, p.b)];
    const before: Tensor = x;
    [e, x] = ritz(basis(generated.cat(parts, 1), p.b), p, n);
    direction = without(x, before);
  }
  return [e.narrow(0, 0, p.k), x.narrow(1, 0, p.k)];
}

/** Rows, eigenpairs and columns, of arguments that are looked at. */
function sizesOf(a: ReturnType<typeof read>): { readonly m: number; readonly k: number; readonly n: number } {
  if (a.A.ndim < 2 || a.A.size(-1) !== a.A.size(-2)) throw new ArgumentError("lobpcg", "A to be square", a.A);
  if (a.A.requiresGrad || a.B?.requiresGrad === true)
    throw new ArgumentError("lobpcg", "A and B without gradients", a.A, "Use detach(), or linalg.eigh, which has one.");
  if (a.A.dtype !== "float32" && a.A.dtype !== "float64")
    throw new ArgumentError("lobpcg", "A in float32 or float64", a.A);
  if (a.B !== null && a.B.shape.join() !== a.A.shape.join())
    throw new ArgumentError("lobpcg", `B of the shape [${a.A.shape.join(", ")}]`, a.B);
  const m = a.A.size(-1);
  const k = a.k ?? a.X?.size(-1) ?? 1;
  const n = a.X?.size(-1) ?? a.n ?? k;
  if (m < 3 * n) throw new ArgumentError("lobpcg", `at least 3 rows per column (${3 * n})`, m);
  if (k > n) throw new ArgumentError("lobpcg", `k of at most ${n}, the columns`, k);
  return { m, k, n };
}

/**
 * The k largest (or smallest) eigenvalues of a symmetric matrix, by products with it alone: for matrices too large for
 * `linalg.eigh`, of at least 3n rows. Has no gradient. Waits for the device in every iteration.
 *
 * @returns `[E, X]`: `[…, k]`, the wanted first, and `[…, m, k]`. As exact as `tol`; signs of vectors are any.
 * @throws {ArgumentError} `lobpcg: expected at least 3 rows per column (6). Received: 5.`
 * @see Knyazev, 2001: the locally optimal block preconditioned conjugate gradient method.
 */
export function lobpcg(...given: LobpcgCall): [Tensor, Tensor] {
  const a = read(given);
  const { m, k, n } = sizesOf(a);
  const eps = a.A.dtype === "float32" ? 1.2e-7 : 2.23e-16;
  const common = {
    preconditioner: a.iK,
    k,
    niter: a.niter ?? 1000,
    tol: a.tol ?? Math.sqrt(eps),
    largest: a.largest ?? true,
  };
  const random = (): Tensor => generated.randn([m, n], { dtype: a.A.dtype, device: a.A.device });
  return noGrad(() =>
    scope((): [Tensor, Tensor] => {
      if (a.A.ndim === 2) {
        const [e, x] = solve({ ...common, a: a.A, b: a.B }, a.X ?? random());
        return [e.clone(), x.clone()];
      }
      const batch = a.A.shape.slice(0, -2);
      const all = a.A.reshape([-1, m, m]).unbind();
      const others = a.B?.reshape([-1, m, m]).unbind();
      const starts = a.X?.expand([...batch, m, n])
        .reshape([-1, m, n])
        .unbind();
      const found = all.map((each, i) =>
        solve({ ...common, a: each, b: others?.[i] ?? null }, starts?.[i] ?? random()),
      );
      return [
        generated.stack(found.map(([e]) => e)).reshape([...batch, k]),
        generated.stack(found.map(([, x]) => x)).reshape([...batch, m, k]),
      ];
    }),
  );
}
