import { atMost, type Tensor } from "@nbit/torch";

/** A loss scale and what it did to steps. As it stands here: there is none, and every step is made. */
export class LossScaling {
  constructor() {
    // Classes without a constructor of their own pass on what they are given.
    atMost(new.target.name || "LossScaling", arguments, 0);
  }

  /** What multiplies losses now; null without one. Waits for the device on CUDA. */
  get scale(): number | null {
    return null;
  }

  /** A loss times the scale, where no backward that counts follows: for a dry run. */
  preview(loss: Tensor): Tensor {
    return loss;
  }

  /**
   * Whether gradients that are not finite are the loss scale's affair (a dynamic one skips their step), and no reason
   * to end the run.
   */
  get skipsOverflow(): boolean {
    return false;
  }

  /**
   * Whether gradients of now, since the scale was last updated, were found not to be finite. False where reading that
   * would wait for a device.
   */
  get overflowing(): boolean {
    return false;
  }

  /**
   * Steps skipped since the plugin was made (or since its state was loaded, on top of what that says). Waits for the
   * device on CUDA.
   */
  get skippedSteps(): number {
    return 0;
  }

  /** Whether the latest step was skipped. Waits for the device on CUDA. */
  get lastStepSkipped(): boolean {
    return false;
  }

  /** Whether what steps did stays on the device until somebody asks, where reading it at once would wait. */
  get readsLate(): boolean {
    return false;
  }

  /**
   * After an iteration that ended a window. Where the outcome of steps stays on the device, an error that the update of
   * the scale would have thrown is thrown here, at times when values are read anyway (`due`), or one iteration after
   * such a time, when that one found cause.
   */
  checkOutcome(_due: boolean): void {}
}

/** Of precisions that do not scale losses. */
export const NO_LOSS_SCALING = new LossScaling();
