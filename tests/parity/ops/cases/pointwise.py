"""Elementwise operators: unary over the domain of each, binary with broadcasting, ternary, comparisons, activations."""

from dsl import B, F, I, V, case

POSITIVE = {"log", "log2", "log10", "log1p", "sqrt", "rsqrt", "digamma", "lgamma"}
UNIT = {"acos", "asin", "atanh", "erfinv"}
for op in (
    "abs exp exp2 expm1 log log2 log10 log1p sqrt rsqrt reciprocal neg square sin cos tan asin acos atan sinh cosh tanh asinh acosh "
    "atanh sigmoid erf erfc erfinv digamma lgamma ceil floor round trunc frac sign sgn logit relu relu6 silu mish hardswish hardsigmoid "
    "log_sigmoid i0 deg2rad rad2deg"
).split():
    lo, hi = (0.05, 3) if op in POSITIVE else (-0.95, 0.95) if op in UNIT else (1.05, 4) if op == "acosh" else (0.05, 0.95) if op == "logit" else (-3, 3)
    case("", op, F(5, 7, lo=lo, hi=hi))

case("edge values", "tanh", V([0.0, -0.0, 1e-40, 1e30, float("inf"), float("-inf"), float("nan")], grad=True))
case("edge values", "exp", V([0.0, -0.0, 88.8, -104.0, float("inf"), float("-inf"), float("nan")], grad=True))
case("exact", "gelu", F(4, 9))
case("tanh", "gelu", F(4, 9), approximate="tanh")
case("alpha", "elu", F(4, 9), alpha=0.5)
case("", "selu", F(4, 9))
case("", "celu", F(4, 9), 0.7)
case("slope", "leaky_relu", F(4, 9), negative_slope=0.2)
case("beta, threshold", "softplus", F(4, 9), 2.0, 1.5)
case("", "softshrink", F(4, 9), 0.4)
case("", "hardshrink", F(4, 9), 0.4)
case("range", "hardtanh", F(4, 9), -0.5, 1.5)
case("", "threshold", F(4, 9), 0.2, -7)
case("", "glu", F(3, 8), 1)
case("weights by channel", "prelu", F(2, 3, 4), F(3))
case("nan_to_num", "nan_to_num", V([float("nan"), float("inf"), float("-inf"), 1.5], grad=True), 9.0, posinf=1e4)
case("decimals", "round", F(3, 4), decimals=1)

for op in "add sub mul div atan2 maximum minimum fmax fmin hypot logaddexp logaddexp2".split():
    case("broadcast", op, F(3, 1, 4), F(2, 1))
case("alpha", "add", F(3, 4), F(3, 4), alpha=0.5)
case("number", "add", F(3, 4), 2.5)
case("alpha", "sub", F(3, 4), F(4), alpha=3)
case("alpha", "rsub", F(3, 4), F(4), alpha=2)
case("number", "mul", F(3, 4), -1.25)
case("floor", "div", F(3, 4, lo=-9, hi=9), F(3, 4, lo=1, hi=3), rounding_mode="floor", grad=False)
case("trunc by number", "div", F(3, 4, lo=-9, hi=9), 2.0, rounding_mode="trunc", grad=False)
case("tensor, number", "pow", F(3, 4, lo=0.1), 2.5)
case("tensor, tensor", "pow", F(3, 4, lo=0.1), F(4))
case("number, tensor", "pow", 2, F(3, 4))
case("", "remainder", F(3, 4, lo=-9, hi=9), 2.5)
case("", "fmod", F(3, 4, lo=-9, hi=9), F(4, lo=1, hi=3))
case("", "floor_divide", F(3, 4, lo=-9, hi=9), F(4, lo=1, hi=3), grad=False)
case("", "copysign", F(3, 4), F(4))
case("", "xlogy", F(3, 4, lo=0), F(3, 4, lo=0.1))
case("number", "lerp", F(3, 4), F(3, 4), 0.3)
case("tensor", "lerp", F(3, 4), F(3, 4), F(3, 4, lo=0, hi=1))
case("value", "addcmul", F(3, 4), F(3, 1), F(4), value=0.5)
case("value", "addcdiv", F(3, 4), F(3, 1), F(4, lo=1, hi=2), value=0.5)
case("both", "clamp", F(3, 4), -0.5, 0.75)
case("max only", "clamp", F(3, 4), max=0.5)
case("tensors", "clamp", F(3, 4), F(4, lo=-2, hi=-1), F(4, lo=0, hi=1))
case("", "clamp_min", F(3, 4), 0.1)
case("tensors", "where", B(3, 1), F(3, 4), F(4))
case("", "masked_fill", F(3, 4), B(3, 4), -1.5)
case("", "heaviside", F(3, 4), F(1), grad=False)
case("", "nextafter", F(3, 4), F(4), grad=False)
case("two results", "frexp", F(3, 4), grad=False)
case("", "ldexp", F(3, 4), I(4))
case("", "polygamma", 2, F(3, 4, lo=0.5, hi=3))
case("", "cumsum", F(3, 4), 1)
case("", "cumprod", F(3, 4), 0)
case("", "logcumsumexp", F(3, 4), 1)
case("two results", "cummax", F(3, 6), 1)

for op in "eq ne lt le gt ge".split():
    case("broadcast", op, I(3, 1), I(4))
case("number", "ge", F(3, 4), 0.0, grad=False)
for op in "bitwise_and bitwise_or bitwise_xor".split():
    case("", op, I(3, 4, hi=64), I(4, hi=64, dtype="int32"))
case("", "bitwise_not", I(3, 4, hi=64, dtype="uint8"))
case("", "bitwise_left_shift", I(3, 4, hi=64), 3)
case("", "logical_and", B(3, 4), I(3, 4, hi=2))
case("", "logical_not", F(3, 4), grad=False)
for op in "isnan isinf isfinite isposinf signbit".split():
    case("", op, V([0.0, -0.0, float("nan"), float("inf"), float("-inf"), 1.0]))
case("nan equal", "isclose", V([1.0, float("nan"), 2.0]), V([1.0 + 1e-7, float("nan"), 2.1]), equal_nan=True)
case("a boolean", "allclose", F(3, 4), F(3, 4), grad=False)
case("a boolean", "equal", I(3, 4), I(3, 4))
for op in "erfcx i0e i1 ndtri entr log_ndtr".split():
    case("", "special." + op, F(3, 5, lo=0.05, hi=0.95))
case("", "special.zeta", F(3, 4, lo=1.5, hi=4), F(3, 4, lo=0.5, hi=2), grad=False)
