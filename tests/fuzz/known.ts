/**
 * Operators that break libtorch itself when their arguments make no sense: PyTorch's Python ends in the same way. The fuzz leaves them out; whoever calls them
 * by hand must know what they do.
 */
export interface Known {
  readonly operator: string;
  readonly why: string;
}

const UNCHECKED = "a kernel of autograd or of a fused module: it trusts its caller about shapes, and reads past the end when they do not fit (SIGSEGV or SIGFPE)";
const ENDLESS = "its work grows with the value of an argument, without a bound that it checks";

export const KNOWN: readonly Known[] = [
  ...["fractionalMaxPool2dBackward", "fractionalMaxPool3dBackward", "reflectionPad1dBackward", "reflectionPad2dBackward", "batchNormBackward", "batchNormUpdateStats", "fusedMovingAvgObsFakeQuant"].map(
    (operator) => ({ operator, why: UNCHECKED }),
  ),
  ...["lstm", "gru", "rnnTanh", "rnnRelu"].map((operator) => ({ operator, why: "an empty list of weights is read past its end (SIGSEGV)" })),
  { operator: "range", why: "with an integer `out` and a step below 1 it divides by a step of 0 (SIGFPE); `arange` does not" },
  { operator: "matrixPower", why: "an exponent of -2^63 has no positive counterpart, and it never ends" },
  { operator: "maxPool1d", why: "kernel sizes near 2^62 overflow while it walks them" },
  { operator: "chooseQparamsOptimized", why: ENDLESS },
  { operator: "linalg.eigvals", why: "NaN reaches MKL's SGEBAL, which reports a parameter and goes on (SIGSEGV)" },
  { operator: "luUnpack", why: "pivots of the wrong length are read past their end (SIGSEGV)" },
  { operator: "rreluWithNoise", why: "in training, an `out` of another shape is written past its end (SIGSEGV)" },
  { operator: "binomial", why: "a NaN count draws for ever" },
  ...["laguerrePolynomialL", "legendrePolynomialP", "hermitePolynomialH", "hermitePolynomialHe", "chebyshevPolynomialT", "chebyshevPolynomialU", "chebyshevPolynomialV", "chebyshevPolynomialW",
    "shiftedChebyshevPolynomialT", "shiftedChebyshevPolynomialU", "shiftedChebyshevPolynomialV", "shiftedChebyshevPolynomialW"].map((name) => ({ operator: `special.${name}`, why: ENDLESS })),
];
