/** Who looks at what a backward does: nobody, or the anomaly mode. */

/** Looks at every operator call and at every backward. */
export interface Watch {
  /** After an operator that JavaScript called. */
  called(): void;
  /** @param returns - Whether gradients are returned, not accumulated. */
  backward(run: () => void, returns: boolean): void;
}
/** @internal */
export let watch: Watch | null = null;
/** @internal */
export function setWatch(next: Watch | null): void {
  watch = next;
}
/** @internal A backward, under whoever watches. */
export function watched(run: () => void, returns = false): void {
  if (watch === null) run();
  else watch.backward(run, returns);
}
