/** The terminal that all ranks share: whole lines, each with its rank, and a memory of who wrote last. */
import { Buffer } from "node:buffer";

/** What is kept of each rank to be shown again. */
const LAST_LINES = 40;
/** To the start of the line, which is erased: rank 0 may have a progress bar there, and draws it anew. */
const ERASE_LINE = "\r\u001b[K";

export class Screen {
  /** The rank whose stderr was written last; null: something else was. */
  #last: number | null = null;
  readonly #kept = new Map<number, Buffer[]>();
  readonly #erase: string;
  #gone = false;

  constructor() {
    this.#erase = process.stdout.isTTY && process.stderr.isTTY ? ERASE_LINE : "";
    for (const stream of [process.stdout, process.stderr]) stream.on("error", this.#onError);
  }

  /** Lines of a rank's stdout. Rank 0's are as they are. */
  stdout(rank: number, lines: readonly Buffer[]): void {
    this.#last = null;
    this.#write(process.stdout, rank === 0 ? lines : prefixed(rank, lines));
  }

  /** Lines of a rank's stderr. */
  stderr(rank: number, lines: readonly Buffer[]): void {
    this.#last = rank;
    const kept = this.#kept.get(rank) ?? [];
    this.#kept.set(rank, [...kept, ...lines.slice(-LAST_LINES)].slice(-LAST_LINES));
    this.#write(process.stderr, prefixed(rank, lines));
  }

  /** A line of the supervisor itself. */
  say(text: string): void {
    this.#write(process.stderr, [Buffer.from(`nbit: ${text}\n`)]);
  }

  /** Why a run ended, and the last lines of that rank, unless they are the last on the screen already. */
  conclude(text: string, rank: number): void {
    const lines = this.#kept.get(rank) ?? [];
    const shown = lines.length === 0 || this.#last === rank;
    this.say(shown ? text : `${text}. Its last lines:`);
    if (!shown) this.#write(process.stderr, prefixed(rank, lines));
  }

  /** A new attempt: lines of the one before are not its. */
  forget(): void {
    this.#kept.clear();
  }

  close(): void {
    for (const stream of [process.stdout, process.stderr]) stream.removeListener("error", this.#onError);
  }

  #write(stream: NodeJS.WriteStream, lines: readonly Buffer[]): void {
    if (!this.#gone) stream.write(Buffer.concat([Buffer.from(this.#erase), ...lines]));
  }

  /** A terminal that was closed ends nothing: the ranks are told by SIGHUP, and this process waits for them. */
  readonly #onError = (): void => {
    this.#gone = true;
  };
}

function prefixed(rank: number, lines: readonly Buffer[]): Buffer[] {
  const prefix = Buffer.from(`[rank ${rank}] `);
  return lines.flatMap((line) => [prefix, line]);
}
