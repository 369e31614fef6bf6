/** All ranks of this machine, from their start to the end of the last. */
import type { Ended, RankSetup } from "./rank-process.js";
import { RankProcess } from "./rank-process.js";
import type { Guard } from "./guard.js";

/** The rank because of which the others were ended. */
export interface Failure extends Ended {
  readonly rank: number;
  readonly pid: number | null;
}

/**
 * Runs all ranks until the last of them has ended. The first that fails ends the others: SIGTERM, and after `graceMs`
 * SIGKILL. A signal that was forwarded is no failure, so that others may still write their checkpoints.
 */
export class Attempt {
  readonly #ranks: RankProcess[] = [];
  /** Failed within one turn of the event loop, which is as near as their order is known. */
  readonly #suspects: Failure[] = [];
  #failure: Failure | null = null;
  #forwarded: NodeJS.Signals | null = null;
  #killed = false;
  #timer: NodeJS.Timeout | null = null;
  #drained = 0;
  #resolve: (code: number) => void = () => undefined;
  /** Resolves when all have ended and all they wrote has been shown: to the exit code. */
  readonly done = new Promise<number>((resolve) => (this.#resolve = resolve));

  /**
   * @param afterFirst - Called when the first rank has been started, and no other.
   * @param onFailure - Called once, when a rank has failed; the others are being ended.
   */
  constructor(
    setups: readonly RankSetup[],
    readonly guard: Guard,
    readonly graceMs: number,
    afterFirst: () => void,
    readonly onFailure: (failure: Failure) => void,
  ) {
    for (const setup of setups) {
      const rank = new RankProcess(
        setup,
        () => this.#onEnd(rank),
        () => this.#onDrained(),
      );
      this.#ranks.push(rank);
      if (rank.pid !== null) guard.add(rank.pid);
      if (this.#ranks.length === 1) afterFirst();
    }
  }

  /** Hands a signal on. The ranks end by it in their own time. */
  forward(signal: NodeJS.Signals): void {
    this.#forwarded ??= signal;
    this.#signal(signal);
  }

  /** The rank that failed by itself, and not by a signal that was handed on; null: none, so far. */
  get failure(): Failure | null {
    return this.#failure;
  }

  /** Stops and continues all, as a terminal does. */
  relay(signal: "SIGSTOP" | "SIGCONT" | "SIGWINCH"): void {
    this.#signal(signal);
  }

  /** Ends all at once. */
  kill(): void {
    this.#killed = true;
    this.#signal("SIGKILL");
  }

  /** Ends all: SIGTERM, and SIGKILL for what is there after the grace period. */
  end(): void {
    if (this.#timer !== null) return;
    this.#timer = setTimeout(() => this.#signal("SIGKILL"), this.graceMs);
    // Asked already, a rank would take a second signal for impatience, and end without its checkpoint.
    if (this.#forwarded === null) this.#signal("SIGTERM");
  }

  #signal(signal: NodeJS.Signals): void {
    for (const rank of this.#ranks) if (rank.ended === null) rank.kill(signal);
  }

  #onEnd(rank: RankProcess): void {
    const { ended, pid } = rank;
    if (ended === null) return;
    const failed = ended.code !== 0 && !this.#asAsked(ended);
    if (failed && this.#failure === null && this.#timer === null) {
      if (this.#suspects.length === 0) setImmediate(() => this.#blame());
      this.#suspects.push({ ...ended, rank: rank.rank, pid });
    }
    // What it had started goes with it, unless it ended well and left something on purpose.
    if (ended.code !== 0) rank.kill("SIGKILL");
    if (pid !== null) this.guard.delete(pid);
  }

  /** It ended by the signal that it was sent, with the status that says so, or well. */
  #asAsked({ code, signal }: Ended): boolean {
    return this.#forwarded !== null && ((this.#killed && signal === "SIGKILL") || ENDED_BY_SIGNAL.has(code));
  }

  /** Among several, the one that a signal ended: the others lost their connection to it. */
  #blame(): void {
    const failure = this.#suspects.find(({ signal }) => signal !== null) ?? this.#suspects[0];
    if (failure === undefined || this.#failure !== null) return;
    this.#failure = failure;
    this.end();
    this.onFailure(failure);
  }

  #onDrained(): void {
    if (++this.#drained < this.#ranks.length) return;
    setImmediate(() => {
      if (this.#timer !== null) clearTimeout(this.#timer);
      this.#resolve(this.#failure?.code ?? this.#codes().find((code) => code !== 0) ?? 0);
    });
  }

  #codes(): number[] {
    return this.#ranks.map(({ ended }) => ended?.code ?? 0);
  }
}

/** 128 + SIGHUP, SIGINT, SIGTERM. */
const ENDED_BY_SIGNAL: ReadonlySet<number> = new Set([129, 130, 143]);
