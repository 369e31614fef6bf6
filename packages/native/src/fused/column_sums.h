// What the rows of a matrix sum to: the gradient of a bias.
#pragma once
#include <ATen/core/Tensor.h>

namespace nbit {

/**
 * The sum over rows of a dense `[rows, columns]` in 16 bits or float32, in float32 and in a fixed order. On CUDA;
 * absent (null) in an addon built for a libtorch without it. Some three times as fast as `at::sum`, whose blocks meet
 * in memory that has to be cleared first.
 */
__attribute__((weak)) at::Tensor columnSums(const at::Tensor& rows);

/**
 * Of a gradient that was just made: what its columns sum to, from where its values were in hand. Kept for the node that
 * gets this very tensor, unchanged, until it asks or two others were kept.
 */
__attribute__((weak)) void keepColumnSums(const at::Tensor& gradient, at::Tensor sums);
/** What was kept of this gradient; undefined where nothing was, or where it has been written since. */
__attribute__((weak)) at::Tensor keptColumnSums(const at::Tensor& gradient);

}  // namespace nbit
