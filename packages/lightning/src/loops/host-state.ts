import { device, noGrad, outsideScopes, type Tensor } from "@nbit/torch";
import { captureRng, disposeRng, restoreRng, type RngState } from "../rng.js";

/** Values of tensors, and the host's generator, as they are now: to take back what only had to be seen. */
export class HostState {
  readonly #tensors: readonly Tensor[];
  readonly #copies: readonly Tensor[];
  readonly #rng: RngState;

  constructor(tensors: readonly Tensor[]) {
    this.#tensors = [...new Set(tensors)];
    this.#copies = outsideScopes(() => noGrad(() => this.#tensors.map((t) => t.detach().clone())));
    this.#rng = captureRng(device("cpu"));
  }
  /** Once. */
  restore(): void {
    noGrad(() => {
      this.#tensors.forEach((t, i) => t.copy_(this.#copies[i] as Tensor));
    });
    restoreRng(this.#rng, device("cpu"));
    this.forget();
  }
  /** What was done since stays. */
  forget(): void {
    for (const copy of this.#copies) copy.dispose();
    disposeRng(this.#rng);
  }
}
