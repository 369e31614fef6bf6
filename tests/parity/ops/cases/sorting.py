"""Sorts, selections, unique values."""

from dsl import F, I, V, case

case("", "sort", F(3, 7), 1)
case("stable, descending", "sort", I(3, 9, hi=3), stable=True, dim=1, descending=True)
case("", "argsort", F(3, 7), 1, True, grad=False)
case("", "msort", F(5, 3))
case("", "topk", F(3, 7), 3)
case("smallest", "topk", F(3, 7), 2, 0, False)
case("", "kthvalue", F(3, 7), 2, 1)
case("inverse, counts", "aten._unique2", I(12, hi=4), True, True, True)
case("", "unique_dim", V([1, 2, 1, 2, 3, 4], "int64", shape=[3, 2]), 0, True, True, True)
case("runs", "unique_consecutive", V([1, 1, 2, 2, 2, 1], "int64"), True, True)
case("", "isin", I(3, 4), V([1, 3], "int64"))
case("nan last", "sort", V([2.0, float("nan"), -1.0, float("inf")]))
