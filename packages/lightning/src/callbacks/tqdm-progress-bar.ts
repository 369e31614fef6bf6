import { ProgressBar } from "./progress-bar.js";

/** {@link ProgressBar} under the name of Lightning's. `refreshRate` is of redraws per second, not of batches. */
export class TQDMProgressBar extends ProgressBar {}
