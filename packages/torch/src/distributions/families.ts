/** Every family of distributions. */
export { Distribution, ExponentialFamily } from "./distribution.js";
export { Independent, TransformedDistribution } from "./transformed.js";
export { Bernoulli, ContinuousBernoulli, Geometric } from "./bernoulli.js";
export { Beta, Dirichlet, Kumaraswamy } from "./dirichlet.js";
export { Binomial, Multinomial, NegativeBinomial, Poisson } from "./binomial.js";
export { Categorical, OneHotCategorical, OneHotCategoricalStraightThrough } from "./categorical.js";
export { Cauchy, HalfCauchy, StudentT } from "./cauchy.js";
export { Chi2, FisherSnedecor, Gamma, InverseGamma } from "./gamma.js";
export { Exponential, GeneralizedPareto, Pareto, Weibull } from "./exponential.js";
export { Gumbel, Laplace } from "./laplace.js";
export { LKJCholesky, Wishart } from "./wishart.js";
export { LogisticNormal, MixtureSameFamily } from "./mixture.js";
export { HalfNormal, LogNormal, Normal } from "./normal.js";
export { LowRankMultivariateNormal, MultivariateNormal } from "./multivariate-normal.js";
export { ExpRelaxedCategorical, LogitRelaxedBernoulli, RelaxedBernoulli, RelaxedOneHotCategorical } from "./relaxed.js";
export { Uniform } from "./uniform.js";
export { VonMises } from "./von-mises.js";
