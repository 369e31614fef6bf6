"""Losses: none (0), mean (1) and sum (2) reduction, class weights, ignored targets, label smoothing."""

from dsl import F, I, V, case

for k, name in enumerate(("none", "mean", "sum")):
    case(name, "mse_loss", F(4, 5), F(4, 5), k)
    case(name, "l1_loss", F(4, 5), F(4, 5), reduction=k)
case("beta", "smooth_l1_loss", F(4, 5), F(4, 5), 1, 0.5)
case("delta", "huber_loss", F(4, 5), F(4, 5), 1, 0.7)
case("", "cross_entropy_loss", F(6, 5), I(6, hi=5))
case("weights, smoothing", "cross_entropy_loss", F(6, 5), I(6, hi=5), F(5, lo=0.5, hi=2, grad=False), 1, -100, 0.1)
case("ignored, sum", "cross_entropy_loss", F(4, 5), V([1, -100, 4, 0], "int64"), None, 2)
case("images, none", "cross_entropy_loss", F(2, 5, 3, 3), I(2, 3, 3, hi=5), reduction=0)
case("probabilities", "cross_entropy_loss", F(4, 5), F(4, 5, lo=0, hi=1))
case("", "nll_loss", F(6, 5), I(6, hi=5))
case("", "nll_loss_nd", F(2, 5, 3), I(2, 3, hi=5), F(5, lo=0.5, hi=2, grad=False))
case("", "binary_cross_entropy", F(4, 5, lo=0.05, hi=0.95), F(4, 5, lo=0, hi=1, grad=False))
case("weights", "binary_cross_entropy_with_logits", F(4, 5), F(4, 5, lo=0, hi=1, grad=False), F(5, lo=0.5, hi=2, grad=False), F(5, lo=0.5, hi=2, grad=False), 2)
case("", "kl_div", F(4, 5, lo=-3, hi=-0.1), F(4, 5, lo=0.1, hi=1), 2)
case("log target", "kl_div", F(4, 5, lo=-3, hi=-0.1), F(4, 5, lo=-3, hi=-0.1), 1, log_target=True)
case("", "poisson_nll_loss", F(4, 5), F(4, 5, lo=0, hi=3, grad=False), True, False, 1e-8, 1)
case("margin", "hinge_embedding_loss", F(6), V([1.0, -1, 1, -1, 1, 1]), 0.7)
case("", "margin_ranking_loss", F(6), F(6), V([1.0, -1, 1, -1, 1, 1]), 0.2)
case("", "cosine_embedding_loss", F(4, 5), F(4, 5), V([1.0, -1, 1, -1]))
case("", "triplet_margin_loss", F(4, 5), F(4, 5), F(4, 5))
case("", "soft_margin_loss", F(6), V([1.0, -1, 1, -1, 1, 1]))
case("", "multi_margin_loss", F(4, 5), I(4, hi=5))
case("", "multilabel_margin_loss", F(2, 4), V([3, 0, -1, 1, 2, -1, 1, 1], "int64", shape=[2, 4]))
case("zero infinity", "aten.ctc_loss.IntList", F(6, 2, 5, lo=-3, hi=-0.5), V([1, 2, 3, 1], "int64", shape=[2, 2]), [6, 6], [2, 2], 0, 1, True)
