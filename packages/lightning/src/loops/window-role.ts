/** What a batch does in its accumulation window, and whether it is recorded or replayed. Knows nothing of devices. */

/**
 * "whole": alone in its window, which it opens and closes; "opens": clears the gradients of the window before;
 * "closes": steps.
 */
export type WindowRole = "whole" | "opens" | "within" | "closes";

export function roleOf(windowOpen: boolean, windowEnds: boolean): WindowRole {
  if (windowOpen) return windowEnds ? "closes" : "within";
  return windowEnds ? "whole" : "opens";
}

/** Whether the optimizer steps. */
export function steps(role: WindowRole): boolean {
  return role === "whole" || role === "closes";
}
/** Whether gradients of earlier batches count. */
export function continues(role: WindowRole): boolean {
  return role === "within" || role === "closes";
}

/** Batches run eagerly before recording: allocations, autotuning and optimizer state are then settled. */
export const WARM_UP_BATCHES = 3;

/**
 * Decides batch by batch, for one number of batches to a step.
 *
 * Recording begins with the first window that opens after {@link WARM_UP_BATCHES} batches, at least one of which has
 * stepped. From there each role is recorded at its first batch: "whole" with one batch to a step; with more of them the
 * others, while a window of one batch (the rest of an epoch) runs eagerly, as does a window that another number of
 * batches has left open.
 */
export class ReplayPlan {
  #warmUps = 0;
  #stepped = false;
  #begun = false;
  readonly #recorded = new Set<WindowRole>();

  constructor(readonly accumulate: number) {}

  /** Recording has begun. */
  get begun(): boolean {
    return this.#begun;
  }

  next(role: WindowRole): "eager" | "record" | "replay" {
    if ((role === "whole") !== (this.accumulate === 1)) return "eager";
    if (this.#recorded.has(role)) return "replay";
    const begins = !continues(role) && this.#warmUps >= WARM_UP_BATCHES && this.#stepped;
    return this.#begun || begins ? "record" : "eager";
  }

  /** A batch ran eagerly. */
  ranEagerly(stepped: boolean): void {
    this.#warmUps++;
    this.#stepped ||= stepped;
  }

  recorded(role: WindowRole): void {
    this.#begun = true;
    this.#recorded.add(role);
  }
}
