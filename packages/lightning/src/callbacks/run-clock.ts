/** The times of a run log: since the run began, and of this epoch without validation. */
export class RunClock {
  #startedAt = 0;
  #epochStartedAt = 0;
  #evaluationStartedAt = 0;
  #evaluationMs = 0;

  start(): void {
    this.#startedAt = performance.now();
  }
  /** Go on from these times, as a checkpoint has them. */
  goOn(seconds: number, trainingSeconds: number): void {
    const now = performance.now();
    this.#startedAt = now - seconds * 1000;
    this.#epochStartedAt = now - trainingSeconds * 1000;
    this.#evaluationMs = 0;
  }

  startEpoch(): void {
    this.#epochStartedAt = performance.now();
    this.#evaluationMs = 0;
  }
  startEvaluation(): void {
    this.#evaluationStartedAt = performance.now();
  }
  /** @returns How many seconds it took. */
  endEvaluation(): number {
    const ms = performance.now() - this.#evaluationStartedAt;
    this.#evaluationMs += ms;
    return ms / 1000;
  }

  get seconds(): number {
    return (performance.now() - this.#startedAt) / 1000;
  }
  /** Of this epoch, without validation. */
  get trainingSeconds(): number {
    return (performance.now() - this.#epochStartedAt - this.#evaluationMs) / 1000;
  }
}
