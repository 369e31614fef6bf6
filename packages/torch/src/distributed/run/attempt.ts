/** All ranks of this machine, from their start to the end of the last. */
import type { Ended, RankSetup } from "./rank-process.js";
import { RankProcess } from "./rank-process.js";
import type { Guard } from "./guard.js";

/** The rank because of which the others were ended. */
export interface Failure extends Ended {
  readonly rank: number;
  readonly pid: number | null;
}

/** How long ranks may take to end, once another has failed. */
export interface Grace {
  readonly graceMs: number;
  /** After a signal that was handed on. */
  readonly interruptGraceMs: number;
}

/**
 * Runs all ranks until the last of them has ended. The first that fails ends the others: SIGTERM, and after a
 * while SIGKILL. A signal that was forwarded is no failure, so that others may still write their checkpoints.
 */
export class Attempt {
  readonly #ranks: RankProcess[] = [];
  /** Failed, in the order in which that was seen. */
  readonly #suspects: RankProcess[] = [];
  readonly #judged = new Set<RankProcess>();
  readonly #waiting = new Set<NodeJS.Timeout>();
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
    readonly grace: Grace,
    afterFirst: () => void,
    readonly onFailure: (failure: Failure) => void,
  ) {
    for (const setup of setups) {
      const rank = new RankProcess(
        setup,
        () => this.#onEnd(rank),
        () => this.#onDrained(rank),
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
    // Asked already, a rank writes its checkpoint, and would take a second signal for impatience.
    const asked = this.#forwarded !== null;
    const { graceMs, interruptGraceMs } = this.grace;
    this.#timer = setTimeout(() => this.#signal("SIGKILL"), asked ? interruptGraceMs : graceMs);
    if (!asked) this.#signal("SIGTERM");
  }

  #signal(signal: NodeJS.Signals): void {
    for (const rank of this.#ranks) if (rank.ended === null) rank.kill(signal);
  }

  #onEnd(rank: RankProcess): void {
    const { ended, pid } = rank;
    if (ended === null) return;
    if (ended.code !== 0) this.#later(READ_MS, () => this.#judge(rank));
    // What it had started goes with it, unless it ended well and left something on purpose.
    if (ended.code !== 0) rank.kill("SIGKILL");
    if (pid !== null) this.guard.delete(pid);
  }

  /** Whether it failed by itself. Its last words have been read, if it left any. */
  #judge(rank: RankProcess): void {
    const { ended } = rank;
    if (ended === null || this.#judged.has(rank)) return;
    this.#judged.add(rank);
    if (ended.code === 0 || this.#asAsked(rank, ended) || this.#failure !== null || this.#timer !== null) return;
    this.#suspects.push(rank);
    // Others that ended in this turn of the event loop are looked at as well.
    setImmediate(() => this.#blame());
  }

  /** It ended by the signal that it was sent, or said that it did. */
  #asAsked({ said }: RankProcess, { code, signal }: Ended): boolean {
    if (this.#forwarded === null) return false;
    return said.interrupted || (this.#killed && signal === "SIGKILL") || ENDED_BY_SIGNAL.has(code);
  }

  /**
   * Among several, the one that a signal ended, or that does not complain of another. Where all do, the one that they
   * complain of is ending still: it is waited for.
   */
  #blame(): void {
    if (this.#failure !== null || this.#timer !== null) return;
    const culprit =
      this.#suspects.find(({ ended }) => ended?.signal != null) ?? this.#suspects.find(({ said }) => !said.peerFailed);
    if (culprit !== undefined) this.#settle(culprit);
    else if (this.#suspects.length === 1) this.#later(this.grace.graceMs / 2, () => this.#settle(this.#suspects[0]));
  }

  #settle(culprit: RankProcess | undefined): void {
    if (culprit === undefined || culprit.ended === null || this.#failure !== null || this.#timer !== null) return;
    this.#failure = { ...culprit.ended, rank: culprit.rank, pid: culprit.pid };
    this.end();
    this.onFailure(this.#failure);
  }

  #later(ms: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.#waiting.delete(timer);
      act();
    }, ms);
    this.#waiting.add(timer);
  }

  #onDrained(rank: RankProcess): void {
    this.#judge(rank);
    if (++this.#drained < this.#ranks.length) return;
    setImmediate(() => {
      this.#settle(this.#suspects[0]); // nobody is left to wait for
      for (const timer of this.#waiting) clearTimeout(timer);
      if (this.#timer !== null) clearTimeout(this.#timer);
      this.#resolve(this.#failure?.code ?? this.#codes().find((code) => code !== 0) ?? 0);
    });
  }

  #codes(): number[] {
    return this.#ranks.map(({ ended }) => ended?.code ?? 0);
  }
}

/** How long the last words of a rank may take. */
const READ_MS = 200;

/** 128 + SIGHUP, SIGINT, SIGUSR1, SIGTERM. */
const ENDED_BY_SIGNAL: ReadonlySet<number> = new Set([129, 130, 138, 143]);
