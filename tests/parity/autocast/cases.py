"""One call for every operator that has an autocast kernel on the CPU, by schema name and overload: {name: (arguments, keyword arguments)}."""

from dsl import F, I, V

# Symmetric and positive definite; and unit lower triangular with an upper triangle, as LU leaves them. Exact in bfloat16.
SPD = [4.0, 1.0, 0.5, 1.0, 3.0, 0.25, 0.5, 0.25, 2.0]
LU = [4.0, 1.0, 0.5, 0.25, 3.0, 0.25, 0.125, 0.5, 2.0]
SIGNS = [1.0, -1.0, 1.0, 1.0]


def spd():
    return V(SPD, shape=[3, 3])


def square():
    return V([2.0, -1.0, 0.5, 1.5, 3.0, -0.25, 0.75, 0.5, -2.5], shape=[3, 3])


def probs(*shape):
    return F(*shape, lo=0.05, hi=0.95)


CONV1 = lambda: [F(2, 3, 9), F(4, 3, 3), F(4)]  # noqa: E731
CONV2 = lambda: [F(1, 3, 6, 6), F(4, 3, 3, 3), F(4)]  # noqa: E731
CONV3 = lambda: [F(1, 2, 4, 4, 4), F(3, 2, 2, 2, 2), F(3)]  # noqa: E731
GRID2 = lambda: [F(1, 2, 4, 4), F(1, 3, 3, 2, lo=-1, hi=1)]  # noqa: E731
PAIR = lambda: [F(3, 4), F(3, 4)]  # noqa: E731


def calls():
    c = {}

    def add(name, *args, **kwargs):
        c[name] = (list(args), kwargs)

    # Matrix products and convolutions.
    add("mm", F(3, 4), F(4, 5))
    add("bmm", F(2, 3, 4), F(2, 4, 5))
    add("addmm", F(3, 5), F(3, 4), F(4, 5), beta=0.5, alpha=2)
    add("_addmm_activation", F(5), F(3, 4), F(4, 5))
    add("baddbmm", F(2, 3, 5), F(2, 3, 4), F(2, 4, 5))
    add("addbmm", F(3, 5), F(2, 3, 4), F(2, 4, 5))
    add("matmul", F(2, 3, 4), F(4, 5))
    add("linear", F(3, 4), F(5, 4), F(5))
    add("linalg_vecdot", *PAIR())
    add("prelu", F(2, 3, 4), F(3))
    add("conv1d", *CONV1(), [1], [1])
    add("conv1d.padding", *CONV1(), [1], "same")
    add("conv2d", *CONV2(), [2, 2], [1, 1])
    add("conv2d.padding", *CONV2(), [1, 1], "same")
    add("conv3d", *CONV3())
    add("conv3d.padding", *CONV3(), [1, 1, 1], "valid")
    add("conv_tbc", F(6, 2, 3), F(3, 3, 4), F(4), 1)
    add("conv_transpose1d", F(2, 4, 6), F(4, 3, 3), F(3))
    add("conv_transpose2d.input", F(1, 4, 4, 4), F(4, 3, 3, 3), F(3), [2, 2])
    add("conv_transpose3d.input", F(1, 2, 3, 3, 3), F(2, 3, 2, 2, 2), F(3))
    add("_convolution.deprecated", *CONV2(), [1, 1], [1, 1], [1, 1], False, [0, 0], 1, False, False, True)
    add("scaled_dot_product_attention", F(1, 2, 4, 8), F(1, 2, 4, 8), F(1, 2, 4, 8))
    add("_native_multi_head_attention", F(2, 3, 8), F(2, 3, 8), F(2, 3, 8), 8, 2, F(24, 8), F(24), F(8, 8), F(8), None, False)
    add("mkldnn_rnn_layer", F(4, 2, 3), F(20, 3), F(20, 5), F(20), F(20), F(1, 2, 5), F(1, 2, 5), False, [], 2, 5, 1, True, False, False, False)

    # Fourier transforms, and what becomes complex.
    for name in ["fft_fft", "fft_ifft", "fft_rfft", "fft_ihfft", "fft_hfft", "fft_irfft"]:
        add(name, F(3, 8))
    for name in ["fft_fft2", "fft_ifft2", "fft_fftn", "fft_ifftn", "fft_rfft2", "fft_rfftn", "fft_irfft2", "fft_irfftn"]:
        add(name, F(4, 8))
    add("stft", F(1, 16), 4, 2, return_complex=True)
    add("stft.center", F(1, 16), 4, 2, None, None, True, "reflect", False, None, True)
    add("polar", F(4, lo=0.5), F(4))
    add("view_as_complex", F(3, 2))

    # Linear algebra.
    for name in ["cholesky", "cholesky_inverse", "linalg_cholesky", "linalg_cholesky_ex", "linalg_eigh", "linalg_eigvalsh"]:
        add(name, spd())
    for name in ["inverse", "linalg_inv", "linalg_inv_ex", "linalg_cond", "linalg_eig", "linalg_eigvals", "linalg_qr", "linalg_svd", "linalg_svdvals", "geqrf", "qr", "svd", "pinverse", "trace", "_lu_with_info"]:
        add(name, square())
    add("linalg_cond.p_str", square(), "fro")
    add("cholesky_solve", F(3, 2), spd())
    add("linalg_solve", square(), F(3, 2))
    add("linalg_lstsq", F(4, 3), F(4, 2), None, driver="gelsd")
    add("linalg_tensorinv", V(SPD[:4] + [2.0, -1.0, 0.5, 0.25, 1.0, 3.0, -0.5, 0.75, 1.5, -2.0, 0.125, 2.5], shape=[2, 2, 2, 2]), 2)
    add("linalg_tensorsolve", square(), F(3))
    add("linalg_householder_product", F(4, 3), F(3))
    add("orgqr", F(4, 3), F(3))
    add("ormqr", F(4, 4), F(4), F(4, 2))
    add("linalg_matrix_rank", square(), 0.5)
    add("linalg_matrix_rank.atol_rtol_float", square(), atol=0.5)
    add("linalg_matrix_rank.atol_rtol_tensor", square(), atol=V([0.5], shape=[]))
    add("linalg_matrix_rank.tol_tensor", square(), V([0.5], shape=[]))
    add("lu_solve", F(3, 2), V(LU, shape=[3, 3]), V([1, 2, 3], dtype="int32"))
    add("triangular_solve", F(3, 2), V(LU, shape=[3, 3]))

    # Losses.
    for name in ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"]:
        add(name, *PAIR())
    add("binary_cross_entropy", probs(3, 4), probs(3, 4))
    add("binary_cross_entropy_with_logits", F(3, 4), probs(3, 4))
    add("kl_div", F(3, 4), probs(3, 4))
    add("poisson_nll_loss", F(3, 4), probs(3, 4), True, False, 1e-8, 1)
    add("soft_margin_loss", F(4), V(SIGNS))
    add("hinge_embedding_loss", F(4), V(SIGNS))
    add("margin_ranking_loss", F(4), F(4), V(SIGNS))
    add("cosine_embedding_loss", F(4, 3), F(4, 3), V(SIGNS))
    add("triplet_margin_loss", F(3, 4), F(3, 4), F(3, 4))
    add("multi_margin_loss", F(3, 4), I(3, hi=4))
    add("multilabel_margin_loss", F(2, 4), V([0, 2, -1, -1, 3, -1, -1, -1], dtype="int64", shape=[2, 4]))
    add("multilabel_margin_loss_forward", F(2, 4), V([0, 2, -1, -1, 3, -1, -1, -1], dtype="int64", shape=[2, 4]), 1)
    add("nll_loss", F(3, 4), I(3, hi=4))
    add("nll_loss2d", F(2, 3, 2, 2), I(2, 2, 2, hi=3))
    add("cross_entropy_loss", F(3, 4), I(3, hi=4))
    add("ctc_loss.IntList", F(6, 2, 4, lo=-3, hi=-0.5), V([1, 2, 3, 1], dtype="int64", shape=[2, 2]), [6, 6], [2, 2])
    add("ctc_loss.Tensor", F(6, 2, 4, lo=-3, hi=-0.5), V([1, 2, 3, 1], dtype="int64", shape=[2, 2]), V([6, 6], dtype="int64"), V([2, 2], dtype="int64"))

    # Pooling, padding, sampling.
    add("adaptive_avg_pool3d", F(1, 2, 4, 4, 4), [2, 2, 2])
    add("adaptive_max_pool3d", F(1, 2, 4, 4, 4), [2, 2, 2])
    add("avg_pool3d", F(1, 2, 4, 4, 4), [2, 2, 2])
    add("max_pool3d", F(1, 2, 4, 4, 4), [2, 2, 2])
    add("fractional_max_pool2d", F(1, 1, 6, 6), [2, 2], [3, 3], probs(1, 1, 2))
    add("fractional_max_pool3d", F(1, 1, 6, 6, 6), [2, 2, 2], [3, 3, 3], probs(1, 1, 3))
    add("max_unpool2d", F(1, 1, 2, 2), V([0, 3, 9, 15], dtype="int64", shape=[1, 1, 2, 2]), [4, 4])
    add("max_unpool3d", F(1, 1, 2, 1, 2), V([0, 3, 9, 15], dtype="int64", shape=[1, 1, 2, 1, 2]), [2, 2, 4], [1, 2, 2], [0, 0, 0])
    add("reflection_pad1d", F(1, 2, 5), [2, 1])
    add("reflection_pad2d", F(1, 2, 4, 4), [1, 1, 2, 0])
    add("replication_pad1d", F(1, 2, 5), [2, 1])
    add("replication_pad2d", F(1, 2, 4, 4), [1, 1, 2, 0])
    add("replication_pad3d", F(1, 1, 3, 3, 3), [1, 0, 0, 1, 1, 1])
    add("grid_sampler", *GRID2(), 0, 0, False)
    add("grid_sampler_2d", *GRID2(), 0, 0, False)
    add("grid_sampler_3d", F(1, 1, 3, 3, 3), F(1, 2, 2, 2, 3, lo=-1, hi=1), 0, 0, False)
    add("_grid_sampler_2d_cpu_fallback", *GRID2(), 0, 0, False)

    # The rest.
    add("prod", F(3, 4))
    add("prod.dim_int", F(3, 4), 1)
    add("cdist", F(3, 4), F(2, 4), 1.0)
    add("quantile", F(8), V([0.25, 0.5]))
    add("quantile.scalar", F(8), 0.25)
    add("nanquantile", F(8), V([0.25, 0.5]))
    add("nanquantile.scalar", F(8), 0.25)
    add("fake_quantize_per_tensor_affine", F(8), 0.125, 1, -8, 7)
    add("cat", [F(2, 3), F(2, 3)], 1)
    add("stack", [F(2, 3), F(2, 3)])
    add("index_copy", F(4, 3), 0, V([2, 0], dtype="int64"), F(2, 3))
    return c
