import { XLAAccelerator } from "./xla.js";

/**
 * Tensor processing units: steps are compiled for them by libtpu. bfloat16 is their only 16-bit type. Programs were
 * compiled for TPUs and never run on one by those who wrote this; `nbit doctor --xla` on a machine that has one does.
 */
export class TPUAccelerator extends XLAAccelerator {
  override readonly name = "tpu";
  protected override get platform(): "cpu" | "tpu" {
    return "tpu";
  }
}
