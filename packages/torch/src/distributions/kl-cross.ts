/** Divergences between distributions of different families. */
import { fullLike, max, onesLike, xlogy } from "../ops/index.js";
import type { Tensor } from "../tensor/tensor.js";
import { Bernoulli, ContinuousBernoulli } from "./bernoulli.js";
import { Binomial, Poisson } from "./binomial.js";
import { Beta } from "./dirichlet.js";
import { Exponential, Pareto } from "./exponential.js";
import { Gamma } from "./gamma.js";
import { registerKl, type DistributionClass } from "./kl.js";
import { Gumbel, Laplace } from "./laplace.js";
import { Normal } from "./normal.js";
import { choose, EULER, minus } from "./numbers.js";
import { Uniform } from "./uniform.js";

const infinite = (t: Tensor): Tensor => fullLike(t, Infinity);
const xLogX = (t: Tensor): Tensor => xlogy(t, t);
const families = (...list: readonly DistributionClass[]): readonly DistributionClass[] => list;
const TWO_PI = 2 * Math.PI;

// q is 0 where p is not: everything is lost.
for (const Q of families(ContinuousBernoulli, Pareto, Uniform, Beta)) {
  registerKl(Exponential, Q, (p) => infinite(p.rate));
  registerKl(Gamma, Q, (p) => infinite(p.concentration));
}
for (const Q of families(Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)) {
  registerKl(Gumbel, Q, (p) => infinite(p.loc));
  registerKl(Laplace, Q, (p) => infinite(p.loc));
  registerKl(Normal, Q, (p) => infinite(p.loc));
}
for (const Q of families(Beta, ContinuousBernoulli, Uniform)) registerKl(Pareto, Q, (p) => infinite(p.scale));
for (const Q of families(Bernoulli, Binomial)) registerKl(Poisson, Q, (p) => infinite(p.rate));
registerKl(Beta, Pareto, (p) => infinite(p.concentration1));
registerKl(ContinuousBernoulli, Pareto, (p) => infinite(p.probs));

registerKl(Bernoulli, Poisson, (p, q) => p.entropy().neg().sub(p.probs.mul(q.rate.log()).sub(q.rate)));

registerKl(Beta, ContinuousBernoulli, (p, q) =>
  p.entropy().neg().sub(p.mean.mul(q.logits)).sub(q.probs.neg().log1p()).sub(q.logNorm()),
);
registerKl(Beta, Exponential, (p, q) => p.entropy().neg().sub(q.rate.log()).add(q.rate.mul(p.mean)));
registerKl(Beta, Gamma, (p, q) => {
  const [a, b] = [p.concentration1, p.concentration0];
  const t2 = q.concentration.lgamma().sub(q.concentration.mul(q.rate.log()));
  const t3 = q.concentration.sub(1).mul(a.digamma().sub(a.add(b).digamma()));
  return p
    .entropy()
    .neg()
    .add(t2)
    .sub(t3)
    .add(q.rate.mul(a).div(a.add(b)));
});
registerKl(Beta, Normal, (p, q) => {
  const { mean } = p;
  const variance = q.scale.pow(2);
  const t2 = variance.mul(TWO_PI).log().mul(0.5);
  const total = p.concentration1.add(p.concentration0);
  const t3 = mean.mul(minus(1, mean)).div(total.add(1)).add(mean.pow(2)).mul(0.5);
  return p
    .entropy()
    .neg()
    .add(t2)
    .add(t3.sub(q.loc.mul(mean)).add(q.loc.pow(2).mul(0.5)).div(variance));
});
registerKl(Beta, Uniform, (p, q) =>
  p
    .entropy()
    .neg()
    .add(q.high.sub(q.low).log())
    .maskedFill(q.low.gt(0).bitwiseOr(q.high.lt(1)), Infinity),
);

registerKl(ContinuousBernoulli, Exponential, (p, q) => p.entropy().neg().sub(q.rate.log()).add(q.rate.mul(p.mean)));
registerKl(ContinuousBernoulli, Normal, (p, q) => {
  const t2 = q.loc.div(q.scale).square().add(Math.log(TWO_PI)).mul(0.5).add(q.scale.log());
  const spread = p.variance.add(p.mean.square()).sub(q.loc.mul(2).mul(p.mean));
  return p
    .entropy()
    .neg()
    .add(t2)
    .add(spread.div(q.scale.square().mul(2)));
});
registerKl(ContinuousBernoulli, Uniform, (p, q) => {
  const result = p.entropy().neg().add(q.high.sub(q.low).log());
  return choose(max(q.low.ge(0), q.high.le(1)), onesLike(result).mul(Infinity), result);
});

registerKl(Exponential, Gamma, (p, q) => {
  const ratio = q.rate.div(p.rate);
  return q.concentration
    .neg()
    .mul(ratio.log())
    .add(ratio)
    .add(q.concentration.lgamma())
    .add(q.concentration.mul(EULER))
    .sub(1 + EULER);
});
registerKl(Exponential, Gumbel, (p, q) => {
  const product = p.rate.mul(q.scale);
  const ratio = q.loc.div(q.scale);
  return product
    .log()
    .sub(1)
    .sub(ratio)
    .add(ratio.exp().mul(product).div(product.add(1)))
    .add(product.reciprocal());
});
registerKl(Exponential, Normal, (p, q) => {
  const variance = q.scale.pow(2);
  const squared = p.rate.pow(2);
  const t1 = squared.mul(variance).mul(TWO_PI).log().mul(0.5);
  const t = squared.reciprocal().sub(q.loc.div(p.rate)).add(q.loc.pow(2).mul(0.5));
  return t1.sub(1).add(t.div(variance));
});

registerKl(Gamma, Exponential, (p, q) =>
  p.entropy().neg().sub(q.rate.log()).add(q.rate.mul(p.concentration).div(p.rate)),
);
registerKl(Gamma, Gumbel, (p, q) => {
  const c = p.concentration;
  const product = p.rate.mul(q.scale);
  const ratio = q.loc.div(q.scale);
  const t1 = c.sub(1).mul(c.digamma()).sub(c.lgamma()).sub(c);
  const t2 = product.log().add(c.div(product));
  return t1.add(t2).add(ratio.exp().mul(product.reciprocal().add(1).pow(c.neg())).sub(ratio));
});
registerKl(Gamma, Normal, (p, q) => {
  const c = p.concentration;
  const variance = q.scale.pow(2);
  const squared = p.rate.pow(2);
  const t1 = squared.mul(variance).mul(TWO_PI).log().mul(0.5).sub(c).sub(c.lgamma());
  const t2 = c.pow(2).add(c).mul(0.5).div(squared);
  const t = t2.sub(q.loc.mul(c).div(p.rate)).add(q.loc.pow(2).mul(0.5));
  return t1.add(c.sub(1).mul(c.digamma())).add(t.div(variance));
});

registerKl(Gumbel, Normal, (p, q) => {
  const ratio = p.scale.div(q.scale);
  const t1 = ratio.div(Math.sqrt(TWO_PI)).log();
  const t2 = ratio.mul(Math.PI).mul(0.5).pow(2).div(3);
  const t3 = p.loc.add(p.scale.mul(EULER)).sub(q.loc).div(q.scale).pow(2).mul(0.5);
  return t1
    .neg()
    .add(t2)
    .add(t3)
    .sub(EULER + 1);
});
registerKl(Laplace, Normal, (p, q) => {
  const variance = q.scale.pow(2);
  const ratio = p.scale.pow(2).div(variance);
  const t = p.loc.pow(2).mul(0.5).sub(p.loc.mul(q.loc)).add(q.loc.pow(2).mul(0.5));
  return ratio.mul(2).div(Math.PI).log().mul(0.5).neg().add(ratio).add(t.div(variance)).sub(1);
});
registerKl(Normal, Gumbel, (p, q) => {
  const mean = p.loc.div(q.scale);
  const ratio = p.scale.div(q.scale).pow(2);
  const loc = q.loc.div(q.scale);
  const t3 = mean.neg().add(ratio.mul(0.5)).add(loc).exp();
  return ratio
    .log()
    .mul(0.5)
    .neg()
    .add(mean.sub(loc))
    .add(t3)
    .sub(0.5 * (1 + Math.log(TWO_PI)));
});
registerKl(Normal, Laplace, (p, q) => {
  const off = p.loc.sub(q.loc);
  const scaled = off.div(p.scale);
  const t2 = p.scale.mul(Math.sqrt(2 / Math.PI)).mul(scaled.pow(2).mul(-0.5).exp());
  const t3 = off.mul(scaled.mul(Math.sqrt(0.5)).erf());
  return p.scale
    .div(q.scale)
    .log()
    .neg()
    .add(t2.add(t3).div(q.scale))
    .sub(0.5 * (1 + Math.log(0.5 * Math.PI)));
});

registerKl(Pareto, Exponential, (p, q) => {
  const product = p.scale.mul(q.rate);
  return p.alpha
    .div(product)
    .log()
    .sub(p.alpha.reciprocal())
    .add(p.alpha.mul(product).div(p.alpha.sub(1)))
    .sub(1)
    .maskedFill(p.alpha.le(1), Infinity);
});
registerKl(Pareto, Gamma, (p, q) => {
  const common = p.scale.log().add(p.alpha.reciprocal());
  return p.alpha
    .log()
    .sub(common)
    .add(q.concentration.lgamma().sub(q.concentration.mul(q.rate.log())))
    .add(minus(1, q.concentration).mul(common))
    .add(q.rate.mul(p.alpha).mul(p.scale).div(p.alpha.sub(1)))
    .sub(1)
    .maskedFill(p.alpha.le(1), Infinity);
});
registerKl(Pareto, Normal, (p, q) => {
  const common = p.scale.div(p.alpha.sub(1));
  const t1 = q.scale.mul(Math.sqrt(TWO_PI)).mul(p.alpha).div(p.scale).log();
  const t3 = p.alpha.mul(common.pow(2)).div(p.alpha.sub(2));
  const t4 = p.alpha.mul(common).sub(q.loc).pow(2);
  return t1
    .sub(p.alpha.reciprocal())
    .add(t3.add(t4).div(q.scale.pow(2).mul(2)))
    .sub(1)
    .maskedFill(p.alpha.le(2), Infinity);
});

registerKl(Uniform, Beta, (p, q) => {
  const [a, b] = [q.concentration1, q.concentration0];
  const width = p.high.sub(p.low);
  const t2 = a
    .sub(1)
    .mul(xLogX(p.high).sub(xLogX(p.low)).sub(width))
    .div(width);
  const [high, low] = [minus(1, p.high), minus(1, p.low)];
  const t3 = b
    .sub(1)
    .mul(xLogX(high).sub(xLogX(low)).add(width))
    .div(width);
  const t4 = a.lgamma().add(b.lgamma()).sub(a.add(b).lgamma());
  return t3
    .add(t4)
    .sub(width.log())
    .sub(t2)
    .maskedFill(p.high.gt(1).bitwiseOr(p.low.lt(0)), Infinity);
});
registerKl(Uniform, ContinuousBernoulli, (p, q) => {
  const result = p.entropy().neg().sub(p.mean.mul(q.logits)).sub(q.probs.neg().log1p()).sub(q.logNorm());
  return choose(max(p.high.ge(1), p.low.le(0)), onesLike(result).mul(Infinity), result);
});
registerKl(Uniform, Exponential, (p, q) =>
  q.rate.mul(p.high.add(p.low)).div(2).sub(p.high.sub(p.low).mul(q.rate).log()).maskedFill(p.low.lt(0), Infinity),
);
registerKl(Uniform, Gamma, (p, q) => {
  const width = p.high.sub(p.low);
  const t3 = minus(1, q.concentration)
    .mul(xLogX(p.high).sub(xLogX(p.low)).sub(width))
    .div(width);
  return width
    .log()
    .neg()
    .add(q.concentration.lgamma().sub(q.concentration.mul(q.rate.log())))
    .add(t3)
    .add(q.rate.mul(p.high.add(p.low)).div(2))
    .maskedFill(p.low.lt(0), Infinity);
});
registerKl(Uniform, Gumbel, (p, q) => {
  const ratio = q.scale.div(p.high.sub(p.low));
  const [high, low] = [p.high.sub(q.loc).div(q.scale), p.low.sub(q.loc).div(q.scale)];
  const t1 = ratio.log().add(high.add(low).mul(0.5));
  return t1.sub(ratio.mul(high.neg().exp().sub(low.neg().exp())));
});
registerKl(Uniform, Normal, (p, q) => {
  const width = p.high.sub(p.low);
  const t1 = q.scale.mul(Math.sqrt(TWO_PI)).div(width).log();
  const t3 = p.high.add(p.low).sub(q.loc.mul(2)).div(2).pow(2);
  return t1.add(width.pow(2).div(12).add(t3).mul(0.5).div(q.scale.pow(2)));
});
registerKl(Uniform, Pareto, (p, q) => {
  const width = p.high.sub(p.low);
  const t1 = q.alpha.mul(q.scale.pow(q.alpha)).mul(width).log();
  const t2 = xLogX(p.high).sub(xLogX(p.low)).sub(width).div(width);
  return t2.mul(q.alpha.add(1)).sub(t1).maskedFill(p.low.lt(q.scale), Infinity);
});
