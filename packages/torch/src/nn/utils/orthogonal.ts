/** The parametrization of orthogonal matrices. */
import { noGrad } from "../../autograd/modes.js";
import { ArgumentError } from "../../errors.js";
import * as ops from "../../ops/index.js";
import { finfo } from "../../tensor/dtype.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import { Module } from "../module.js";
import { printedAs } from "./fields.js";
import { notImplemented } from "./parametrization-list.js";

export type OrthogonalMap = "matrixExp" | "cayley" | "householder";

function diagonal(t: Tensor): Tensor {
  return t.diagonal(0, -2, -1);
}
function mT(t: Tensor): Tensor {
  return t.transpose(-2, -1);
}
function adjoint(t: Tensor): Tensor {
  return ops.adjoint(t);
}
/** Whether the columns are orthonormal, up to rounding. */
function isOrthogonal(q: Tensor): boolean {
  const [n, k] = [q.size(-2), q.size(-1)];
  const one = ops.eye(k, { dtype: q.dtype, device: q.device });
  return ops.allclose(adjoint(q).matmul(q), one, 1e-5, 10 * n * finfo(q.dtype).eps);
}
function makeOrthogonal(a: Tensor): Tensor {
  const [x, tau] = ops.geqrf(a);
  return ops.linalg.householderProduct(x, tau).mul_(diagonal(x).sgn().unsqueeze(-2));
}

/**
 * `[…, n, k]` with orthonormal columns (rows, where n < k): of the strictly lower triangle of what is learned, by the
 * matrix exponential or the Cayley map of a skew matrix, or by Householder reflections.
 *
 * With a base, which is a buffer, the map is near the identity and the base carries the value.
 * @see Lezcano Casado, 2019, arXiv:1909.09501.
 */
export class Orthogonal extends Module {
  declare base: Tensor | null;
  readonly shape: readonly number[];
  readonly orthogonalMap: OrthogonalMap;
  private readonly hasBase: boolean;

  constructor(weight: Tensor, orthogonalMap: OrthogonalMap, useTrivialization: boolean) {
    super();
    if (weight.isComplex() && orthogonalMap === "householder")
      throw new ArgumentError(
        "orthogonal",
        "orthogonalMap to be matrixExp or cayley for a complex tensor",
        orthogonalMap,
      );
    this.shape = [...weight.shape];
    this.orthogonalMap = orthogonalMap;
    this.hasBase = useTrivialization;
    if (useTrivialization) this.registerBuffer("base", null);
  }

  forward(given: Tensor): Tensor {
    const transposed = given.size(-2) < given.size(-1);
    const x = transposed ? mT(given) : given;
    let q = this.orthogonalMap === "householder" ? reflections(x) : this.rotation(x);
    if (this.hasBase && this.base !== null) q = this.base.matmul(q);
    return transposed ? mT(q) : q;
  }
  private rotation(given: Tensor): Tensor {
    const [n, k] = [given.size(-2), given.size(-1)];
    let x = given.tril();
    if (n !== k) x = ops.cat([x, x.newZeros([n, n - k]).expand([...x.shape.slice(0, -2), -1, -1])], -1);
    const skew = x.sub(adjoint(x));
    let q: Tensor;
    if (this.orthogonalMap === "matrixExp") q = ops.matrixExp(skew);
    else {
      const one = ops.eye(n, { dtype: skew.dtype, device: skew.device });
      q = ops.linalg.solve(one.add(skew, { alpha: -0.5 }), one.add(skew, { alpha: 0.5 }));
    }
    return n === k ? q : q.narrow(-1, 0, k);
  }

  rightInverse(given: Tensor): Tensor {
    if (String(given.shape) !== String(this.shape))
      throw new ArgumentError("orthogonal", `a matrix of shape [${this.shape.join(", ")}]`, given);
    return noGrad(() => scope(() => (this.hasBase ? this.intoBase(given) : this.intoReflections(given))));
  }
  private intoReflections(given: Tensor): Tensor {
    if (this.orthogonalMap !== "householder")
      throw notImplemented(
        "orthogonal: expected useTrivialization where a value is assigned to matrixExp or cayley. Received: false.",
      );
    const transposed = given.size(-2) < given.size(-1);
    const [a, tau] = ops.geqrf(transposed ? mT(given) : given);
    // The sign of each reflection's diagonal says whether it is one.
    const signs = diagonal(a).sign();
    diagonal(a).copy_(ops.where(tau.eq(0), signs.neg(), signs));
    return transposed ? mT(a) : a;
  }
  private intoBase(given: Tensor): Tensor {
    const transposed = given.size(-2) < given.size(-1);
    let q = transposed ? mT(given) : given;
    const [n, k] = [q.size(-2), q.size(-1)];
    if (n === k) q = isOrthogonal(q) ? q.clone() : makeOrthogonal(q);
    else {
      const more = ops.randn([...q.shape.slice(0, -2), n, n - k], { dtype: q.dtype, device: q.device });
      q = makeOrthogonal(ops.cat([q, more], -1));
    }
    this.registerBuffer("base", q);
    // Where the map is the identity.
    const origin = ops.zerosLike(given);
    diagonal(origin).fill_(-1);
    return origin;
  }
}
printedAs(Orthogonal, "_Orthogonal");

function reflections(x: Tensor): Tensor {
  const a = x.tril(-1);
  const tau = a.mul(a).sum(-2).add(1).reciprocal().mul(2);
  return ops.linalg.householderProduct(a, tau).mul(diagonal(x).int().unsqueeze(-2));
}
