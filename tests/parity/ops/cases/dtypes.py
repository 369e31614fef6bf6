"""The same operators in other dtypes, promotion between dtypes, and casts."""

from dsl import B, F, I, V, case

for dt in ("float64", "bfloat16", "float16"):
    case(dt, "add", F(3, 40, dtype=dt), F(40, dtype=dt))
    case(dt, "mul", F(3, 40, dtype=dt), 1.1)
    case(dt, "exp", F(3, 40, dtype=dt))
    case(dt, "sum", F(3, 40, dtype=dt), [1])
    case(dt, "softmax", F(3, 40, dtype=dt), 1)
    case(dt, "mm", F(5, 20, dtype=dt), F(20, 6, dtype=dt))
    case(dt, "linear", F(5, 20, dtype=dt), F(6, 20, dtype=dt), F(6, dtype=dt))
    case(dt, "gelu", F(3, 40, dtype=dt))
    case(dt, "layer_norm", F(4, 20, dtype=dt), [20], F(20, dtype=dt), F(20, dtype=dt))
    case(dt, "conv2d", F(2, 3, 7, 7, dtype=dt), F(4, 3, 3, 3, dtype=dt), F(4, dtype=dt), padding=1)
    case(dt, "max_pool2d", F(2, 3, 8, 8, dtype=dt), 2)
    case(dt, "cross_entropy_loss", F(6, 5, dtype=dt), I(6, hi=5))
for dt in ("int8", "uint8", "int16", "int32", "int64"):
    case(dt, "add", I(3, 4, lo=0, hi=100, dtype=dt), I(4, lo=0, hi=100, dtype=dt))
    case(dt, "sum", I(3, 4, lo=0, hi=100, dtype=dt))
case("wraps", "mul", I(3, 4, hi=120, dtype="int8"), 3)
case("int32", "floor_divide", I(3, 4, lo=-9, hi=9, dtype="int32"), 2)
case("int64 to float", "div", I(3, 4, lo=-9, hi=9), I(3, 4, lo=1, hi=5))
for dt in ("complex64", "complex128"):
    case(dt, "mul", F(3, 4, dtype=dt), F(4, dtype=dt))
    case(dt, "abs", F(3, 4, dtype=dt))
    case(dt, "exp", F(3, 4, dtype=dt))
    case(dt, "mm", F(3, 4, dtype=dt), F(4, 2, dtype=dt))
    case(dt, "sum", F(3, 4, dtype=dt), [0])
case("", "angle", F(3, 4, dtype="complex64"))
case("", "conj_physical", F(3, 4, dtype="complex64"))
case("", "view_as_real", F(3, 4, dtype="complex64"))
case("", "real", F(3, 4, dtype="complex64"))
case("int64 + float32", "add", I(3, 4), F(3, 4))
case("int32 + int64", "add", I(3, 4, dtype="int32"), I(3, 4))
case("bfloat16 + float32", "add", F(3, 4, dtype="bfloat16"), F(3, 4))
case("bfloat16 + float16", "mul", F(3, 4, dtype="bfloat16"), F(3, 4, dtype="float16"))
case("bool * float64", "mul", B(3, 4), F(3, 4, dtype="float64"))
case("0-d float64 does not promote", "add", F(3, 4), V([2.5], "float64", shape=[]))
case("int + number 1.5", "add", I(3, 4), 1.5)
for dt in ("float16", "bfloat16", "float64", "int32", "bool", "complex64", "float8_e4m3fn", "float8_e5m2"):
    case(f"to {dt}", "aten.to.dtype", F(3, 9), dt, grad=dt in ("float16", "bfloat16", "float64"))
case("rounds to even", "aten.to.dtype", V([1.00390625, 1.01171875, 3.3895314e38, 1e-40]), "bfloat16")
case("overflows to infinity", "aten.to.dtype", V([65504.0, 65519.9, 65520.0, 6e-8]), "float16")
