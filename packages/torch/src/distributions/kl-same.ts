/** Divergences between distributions of one family. */
import { grad } from "../autograd/backward.js";
import { enableGrad } from "../autograd/modes.js";
import { ArgumentError } from "../errors.js";
import { diagEmbed, linalg, softplus } from "../ops/index.js";
import { broadcastShapes } from "../ops/shapes.js";
import type { Tensor } from "../tensor/tensor.js";
import { lacking, sameShape } from "./arguments.js";
import { Bernoulli, ContinuousBernoulli, Geometric } from "./bernoulli.js";
import { Binomial, Poisson } from "./binomial.js";
import { Categorical, OneHotCategorical } from "./categorical.js";
import { Cauchy } from "./cauchy.js";
import { Beta, Dirichlet } from "./dirichlet.js";
import { ExponentialFamily, type Distribution } from "./distribution.js";
import { Exponential, Pareto } from "./exponential.js";
import { Gamma } from "./gamma.js";
import { klDivergence, registerKl } from "./kl.js";
import { Gumbel, Laplace } from "./laplace.js";
import { halfLogDet, lowRankLogDet, lowRankMahalanobis, mahalanobis, traceOfSquare } from "./matrices.js";
import { LowRankMultivariateNormal, MultivariateNormal } from "./multivariate-normal.js";
import { HalfNormal, Normal } from "./normal.js";
import { EULER, minus, mT, sumRightmost } from "./numbers.js";
import { equalTransforms } from "./transform.js";
import { Independent, TransformedDistribution } from "./transformed.js";
import { Uniform } from "./uniform.js";

registerKl(Bernoulli, Bernoulli, (p, q) => {
  const t1 = p.probs
    .mul(softplus(q.logits.neg()).sub(softplus(p.logits.neg())))
    .maskedFill(q.probs.eq(0), Infinity)
    .maskedFill(p.probs.eq(0), 0);
  const t2 = minus(1, p.probs)
    .mul(softplus(q.logits).sub(softplus(p.logits)))
    .maskedFill(q.probs.eq(1), Infinity)
    .maskedFill(p.probs.eq(1), 0);
  return t1.add(t2);
});
registerKl(Beta, Beta, (p, q) => {
  const [p1, p0, q1, q0] = [p.concentration1, p.concentration0, q.concentration1, q.concentration0];
  const [sumP, sumQ] = [p1.add(p0), q1.add(q0)];
  const t1 = q1.lgamma().add(q0.lgamma()).add(sumP.lgamma());
  const t2 = p1.lgamma().add(p0.lgamma()).add(sumQ.lgamma());
  return t1
    .sub(t2)
    .add(p1.sub(q1).mul(p1.digamma()))
    .add(p0.sub(q0).mul(p0.digamma()))
    .add(sumQ.sub(sumP).mul(sumP.digamma()));
});
registerKl(Binomial, Binomial, (p, q) => {
  if (p.totalCount.lt(q.totalCount).any().item() !== 0)
    throw lacking(p, "the divergence from a binomial of a larger totalCount");
  const kl = p.totalCount.mul(
    p.probs.mul(p.logits.sub(q.logits)).add(p.probs.neg().log1p()).sub(q.probs.neg().log1p()),
  );
  return kl.maskedFill(p.totalCount.gt(q.totalCount), Infinity);
});
const categorical = (p: Categorical, q: Categorical): Tensor =>
  p.probs.mul(p.logits.sub(q.logits)).maskedFill(q.probs.eq(0), Infinity).maskedFill(p.probs.eq(0), 0).sum(-1);
registerKl(Categorical, Categorical, categorical);
registerKl(OneHotCategorical, OneHotCategorical, (p, q) => categorical(p.categorical, q.categorical));
registerKl(ContinuousBernoulli, ContinuousBernoulli, (p, q) => {
  const t1 = p.mean.mul(p.logits.sub(q.logits));
  const t2 = p.logNorm().add(p.probs.neg().log1p());
  return t1.add(t2).add(q.logNorm().neg().sub(q.probs.neg().log1p()));
});
registerKl(Dirichlet, Dirichlet, (p, q) => {
  const [a, b] = [p.concentration, q.concentration];
  const [sumA, sumB] = [a.sum(-1), b.sum(-1)];
  const t1 = sumA.lgamma().sub(sumB.lgamma());
  const t2 = a.lgamma().sub(b.lgamma()).sum(-1);
  return t1.sub(t2).add(
    a
      .sub(b)
      .mul(a.digamma().sub(sumA.digamma().unsqueeze(-1)))
      .sum(-1),
  );
});
registerKl(Exponential, Exponential, (p, q) => {
  const ratio = q.rate.div(p.rate);
  return ratio.log().neg().add(ratio).sub(1);
});
/** Of one exponential family: a Bregman divergence of its log normalizer. */
registerKl(ExponentialFamily, ExponentialFamily, (p, q) => {
  if (p.constructor !== q.constructor) throw lacking(p, `the divergence from ${q.constructor.name}`);
  const mine = p.naturalParams.map((t) => t.detach().requiresGrad_());
  return enableGrad(() => {
    const normalizer = p.logNormalizer(...mine);
    const gradients = grad(normalizer.sum(), mine, { createGraph: true });
    let result = q.logNormalizer(...q.naturalParams).sub(normalizer);
    q.naturalParams.forEach((theirs, i) => {
      const term = theirs.sub(mine[i] as Tensor).mul(gradients[i] as Tensor);
      result = result.sub(sumRightmost(term, q.eventShape.length));
    });
    return result;
  });
});
registerKl(Gamma, Gamma, (p, q) => {
  const [a, b] = [p.concentration, q.concentration];
  return b
    .mul(p.rate.div(q.rate).log())
    .add(b.lgamma().sub(a.lgamma()))
    .add(a.sub(b).mul(a.digamma()))
    .add(q.rate.sub(p.rate).mul(a.div(p.rate)));
});
registerKl(Gumbel, Gumbel, (p, q) => {
  const ratio = p.scale.div(q.scale);
  const [locQ, locP] = [q.loc.div(q.scale), p.loc.div(q.scale)];
  const t1 = ratio.log().neg().sub(locQ).add(locP);
  const t3 = locQ.add(ratio.add(1).lgamma()).sub(locP).exp();
  return t1
    .add(ratio.mul(EULER))
    .add(t3)
    .sub(1 + EULER);
});
registerKl(Geometric, Geometric, (p, q) => p.entropy().neg().sub(q.probs.neg().log1p().div(p.probs)).sub(q.logits));
const normal = (p: Normal, q: Normal): Tensor => {
  const ratio = p.scale.div(q.scale).pow(2);
  const off = p.loc.sub(q.loc).div(q.scale).pow(2);
  return ratio.add(off).sub(1).sub(ratio.log()).mul(0.5);
};
registerKl(Normal, Normal, normal);
registerKl(HalfNormal, HalfNormal, (p, q) => normal(p.baseDist, q.baseDist));
registerKl(Laplace, Laplace, (p, q) => {
  const ratio = p.scale.div(q.scale);
  const off = p.loc.sub(q.loc).abs();
  return ratio
    .log()
    .neg()
    .add(off.div(q.scale))
    .add(ratio.mul(off.neg().div(p.scale).exp()))
    .sub(1);
});
registerKl(Pareto, Pareto, (p, q) => {
  const ratio = q.alpha.div(p.alpha);
  return q.alpha
    .mul(p.scale.div(q.scale).log())
    .add(ratio.log().neg())
    .add(ratio)
    .sub(1)
    .maskedFill(p.scale.lt(q.scale), Infinity);
});
registerKl(Poisson, Poisson, (p, q) => p.rate.mul(p.rate.log().sub(q.rate.log())).sub(p.rate.sub(q.rate)));
registerKl(Uniform, Uniform, (p, q) =>
  q.high
    .sub(q.low)
    .div(p.high.sub(p.low))
    .log()
    .maskedFill(q.low.gt(p.low).bitwiseOr(q.high.lt(p.high)), Infinity),
);
registerKl(Cauchy, Cauchy, (p, q) => {
  const sum = p.scale.add(q.scale).pow(2).add(p.loc.sub(q.loc).pow(2)).log();
  return sum.sub(p.scale.mul(4).mul(q.scale).log());
});
registerKl(Independent, Independent, (p, q) => {
  if (p.reinterpretedBatchNdims !== q.reinterpretedBatchNdims)
    throw lacking(p, "the divergence from one of other reinterpretedBatchNdims");
  return sumRightmost(klDivergence(p.baseDist, q.baseDist), p.reinterpretedBatchNdims);
});
registerKl(TransformedDistribution, TransformedDistribution, (p, q) => {
  if (!equalTransforms(p.transforms, q.transforms) || !sameShape(p.eventShape, q.eventShape))
    throw lacking(p, "the divergence from one of other transforms or event shape");
  return klDivergence(p.baseDist, q.baseDist);
});

function size(p: Distribution, q: Distribution): number {
  if (!sameShape(p.eventShape, q.eventShape))
    throw new ArgumentError("klDivergence", `q of the event shape [${p.eventShape.join(", ")}]`, q.eventShape);
  return p.eventShape[0] as number;
}
const solve = (factor: Tensor, b: Tensor): Tensor => linalg.solveTriangular(factor, b, { upper: false });

registerKl(MultivariateNormal, MultivariateNormal, (p, q) => {
  const n = size(p, q);
  const batch = broadcastShapes(q.factor.shape.slice(0, -2), p.factor.shape.slice(0, -2));
  const shape = [...batch, n, n];
  const trace = traceOfSquare(solve(q.factor.expand(shape), p.factor.expand(shape)));
  const distance = mahalanobis(q.factor, q.loc.sub(p.loc));
  return halfLogDet(q.factor).sub(halfLogDet(p.factor)).add(trace.add(distance).sub(n).mul(0.5));
});
registerKl(LowRankMultivariateNormal, LowRankMultivariateNormal, (p, q) => {
  const n = size(p, q);
  const { factor, diag, capacitance } = q.own;
  const logDet = lowRankLogDet(diag, capacitance).sub(lowRankLogDet(p.own.diag, p.own.capacitance));
  const distance = lowRankMahalanobis(factor, diag, q.loc.sub(p.loc), capacitance);
  const a = solve(capacitance, mT(factor).div(diag.unsqueeze(-2)));
  const trace = p.own.diag
    .div(diag)
    .sum(-1)
    .add(traceOfSquare(p.own.factor.mul(diag.rsqrt().unsqueeze(-1))))
    .sub(traceOfSquare(a.mul(p.own.diag.sqrt().unsqueeze(-2))))
    .sub(traceOfSquare(a.matmul(p.own.factor)));
  return logDet.add(trace).add(distance).sub(n).mul(0.5);
});
registerKl(MultivariateNormal, LowRankMultivariateNormal, (p, q) => {
  const n = size(p, q);
  const { factor, diag, capacitance } = q.own;
  const logDet = lowRankLogDet(diag, capacitance).sub(halfLogDet(p.factor).mul(2));
  const distance = lowRankMahalanobis(factor, diag, q.loc.sub(p.loc), capacitance);
  const a = solve(capacitance, mT(factor).div(diag.unsqueeze(-2)));
  const trace = traceOfSquare(p.factor.mul(diag.rsqrt().unsqueeze(-1))).sub(traceOfSquare(a.matmul(p.factor)));
  return logDet.add(trace).add(distance).sub(n).mul(0.5);
});
registerKl(LowRankMultivariateNormal, MultivariateNormal, (p, q) => {
  const n = size(p, q);
  const logDet = halfLogDet(q.factor).mul(2).sub(lowRankLogDet(p.own.diag, p.own.capacitance));
  const distance = mahalanobis(q.factor, q.loc.sub(p.loc));
  const batch = broadcastShapes(q.factor.shape.slice(0, -2), p.own.factor.shape.slice(0, -2));
  const factor = q.factor.expand([...batch, n, n]);
  const trace = traceOfSquare(solve(factor, p.own.factor.expand([...batch, n, p.own.factor.size(-1)]))).add(
    traceOfSquare(solve(factor, diagEmbed(p.own.diag.sqrt()).expand([...batch, n, n]))),
  );
  return logDet.add(trace).add(distance).sub(n).mul(0.5);
});
