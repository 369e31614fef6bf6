"""Operators over lists of tensors, and the fused optimizer and loss-scaling kernels."""

from dsl import F, V, case


def params(grad=False, **k):
    return [F(3, 4, grad=grad, **k), F(5, grad=grad, **k), F(0, 2, grad=grad, **k)]


case("list", "aten._foreach_add", params(), params(), alpha=2)
case("number", "aten._foreach_mul", params(), 0.5)
case("numbers", "aten._foreach_add", params(), [0.5, 1.5, 2.5])
case("", "aten._foreach_sqrt", params(lo=0.1))
case("", "aten._foreach_norm", params(), 2)
case("", "aten._foreach_neg", params())
case("in place", "aten._foreach_add_", params(), params(), alpha=-0.1)
case("in place, number", "aten._foreach_mul_", params(), 0.9)
case("in place", "aten._foreach_addcmul_", params(), params(), params(), 0.1)
case("in place, numbers", "aten._foreach_addcdiv_", params(), params(), params(lo=1), [0.1, 0.2, 0.3])
case("in place", "aten._foreach_lerp_", params(), params(), 0.1)
case("in place", "aten._foreach_zero_", params())
case("in place", "aten._foreach_clamp_max_", params(), 0.5)
case("gradient", "aten._foreach_mul", params(grad=True), params(grad=True))


def two(**k):
    return [F(3, 4, grad=False, **k), F(5, grad=False, **k)]


case(
    "", "aten._fused_adamw_", two(), two(), two(), two(lo=0.1), [], [V([3.0], shape=[]), V([3.0], shape=[])],
    lr=0.01, beta1=0.9, beta2=0.99, weight_decay=0.05, eps=1e-8, amsgrad=False, maximize=False,
)
case(
    "", "aten._fused_adam_", two(), two(), two(), two(lo=0.1), [], [V([3.0], shape=[]), V([3.0], shape=[])],
    lr=0.01, beta1=0.9, beta2=0.99, weight_decay=0.05, eps=1e-8, amsgrad=False, maximize=False,
)
case(
    "", "aten._fused_sgd_", two(), two(), two(),
    weight_decay=0.05, momentum=0.9, lr=0.1, dampening=0.0, nesterov=True, maximize=False, is_first_step=False,
)
case("finite", "aten._amp_foreach_non_finite_check_and_unscale_", two(), V([0.0]), V([0.25]))
case("infinite", "aten._amp_foreach_non_finite_check_and_unscale_", [V([1.0, float("inf")])], V([0.0]), V([0.25]))
case("backs off", "aten._amp_update_scale_", V([1024.0], shape=[]), V([3], "int32", shape=[]), V([1.0], shape=[]), 2.0, 0.5, 4)
case("grows", "aten._amp_update_scale_", V([1024.0], shape=[]), V([3], "int32", shape=[]), V([0.0], shape=[]), 2.0, 0.5, 4)
