/** A GPU that is lost to this process: what CUDA says when a kernel asserted, or read where nothing is. */

/** Not the advice that libtorch adds to every error of CUDA: to "enable device-side assertions". */
const ASSERTED = /device-side assert(?!ions)/i;
/** After one of these every further call on any device of the process fails: CUDA gives up the context. */
const LOST =
  /CUDA error: (?:device-side assert|an illegal memory access|an illegal instruction|misaligned address|invalid program counter|invalid device address space|unspecified launch failure|hardware stack error|uncorrectable ECC|the launch timed out)/i;

/** Operators whose kernels check indices or probabilities on the device, where no exception can be thrown. */
const CHECKS_ON_DEVICE =
  /^(?:aten::(?:embedding|embedding_bag|nll_loss|cross_entropy_loss|multi_margin_loss|multilabel_margin_loss|index|index_put|index_select|index_add|index_copy|index_fill|gather|scatter|scatter_add|scatter_reduce|take|take_along_dim|put|one_hot|multinomial|bernoulli|binary_cross_entropy|bincount|max_unpool|ctc_loss|repeat_interleave)|nbit::cross_entropy_rows)(?:$|[_.\d])/;

/** @internal Whether a message of libtorch says that the process's GPU context is gone. */
export function saysDeviceLost(message: string): boolean {
  return LOST.test(message) || ASSERTED.test(message);
}

/**
 * @internal What to say of it.
 * @param recent - Operators that were called, latest first.
 */
export function deviceLostMessage(
  message: string,
  recent: readonly string[],
): { readonly code: string; readonly text: string } {
  const lost =
    "Every tensor on the GPU is lost with this process's CUDA context; tensors on the CPU are whole and can be saved. Start a new process, and go on from the latest checkpoint.";
  const late =
    "CUDA reports such errors late: with CUDA_LAUNCH_BLOCKING=1 in the environment the operator itself throws.";
  if (!ASSERTED.test(message)) return { code: "CUDA_DEVICE_LOST", text: `${firstLine(message)}. ${late} ${lost}` };
  const suspects = [
    ...new Set(
      recent
        .filter((name) => CHECKS_ON_DEVICE.test(name))
        .map((name) => name.replace(/^aten::/, "").replace(/\..*$/, "")),
    ),
  ].slice(0, 4);
  const where =
    suspects.length === 0
      ? "an operator"
      : suspects.length === 1
        ? suspects[0]
        : `one of ${suspects.join(", ")} (latest first)`;
  return {
    code: "CUDA_DEVICE_ASSERT",
    text: `expected every index to lie within its table, and every class label within the classes. Received: one that does not, in ${where}: its kernel stopped the GPU (device-side assert; the line on stderr names the kernel). ${late} ${lost}`,
  };
}

const firstLine = (text: string): string => (text.split("\n")[0] ?? "").trimEnd().replace(/\.$/, "");
