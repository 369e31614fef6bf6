/** One rank: a process with a group of its own, so that a signal reaches what it started, too, and once only. */
import { spawn, type ChildProcess, type IOType } from "node:child_process";
import { constants } from "node:os";
import type { Readable } from "node:stream";
import { LineSplitter } from "./lines.js";

/** How a process ended. */
export interface Ended {
  /** Its exit code, or 128 + the signal's number, as shells have it. */
  readonly code: number;
  readonly signal: NodeJS.Signals | null;
  /** Why it could not be started; null: it was. */
  readonly error: Error | null;
}

/** Where its output goes: to whoever reads the lines, to this process' own stream, or nowhere. */
export type Sink = ((lines: readonly Buffer[]) => void) | "inherit" | "ignore";

export interface RankSetup {
  readonly rank: number;
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: "inherit" | "ignore";
  readonly stdout: Sink;
  readonly stderr: Sink;
  /** A descriptor that it gets as its descriptor 3. */
  readonly storeFd: number | null;
}

/** Codes in what a rank writes to stderr. They tell an error that another rank has caused, and an end that was asked for. */
const PEER_FAILED = "ERR_DIST_PEER_";
const INTERRUPTED = "ERR_INTERRUPTED";

/** For what a process of the rank's that goes on may hold open. */
const DRAIN_MS = 1000;

export class RankProcess {
  readonly rank: number;
  ended: Ended | null = null;
  /** What its stderr says of its error, as far as that was read: whole when it is drained. */
  readonly said = { peerFailed: false, interrupted: false };
  readonly #child: ChildProcess;

  /**
   * @param onEnd - Called once, when the process has ended.
   * @param onDrained - Called once, after that, when all that it wrote has been read.
   */
  constructor(setup: RankSetup, onEnd: (rank: RankProcess) => void, onDrained: (rank: RankProcess) => void) {
    this.rank = setup.rank;
    const [file = "", ...args] = setup.command;
    const stream = (sink: Sink): IOType => (typeof sink === "string" ? sink : "pipe");
    this.#child = spawn(file, args, {
      cwd: setup.cwd,
      env: setup.env,
      detached: true,
      stdio: [
        setup.stdin,
        stream(setup.stdout),
        stream(setup.stderr),
        ...(setup.storeFd === null ? [] : [setup.storeFd]),
      ],
    });
    const open = [
      { stream: this.#child.stdout, sink: setup.stdout },
      { stream: this.#child.stderr, sink: this.#listening(setup.stderr) },
    ].flatMap(({ stream, sink }) => (stream === null || typeof sink === "string" ? [] : [pour(stream, sink)]));
    let draining: NodeJS.Timeout | null = null;
    const end = (ended: Ended): void => {
      if (this.ended !== null) return;
      this.ended = ended;
      draining = setTimeout(() => open.forEach((close) => close()), DRAIN_MS);
      onEnd(this);
    };
    this.#child.on("error", (error) => {
      if (this.#child.pid === undefined) end({ code: 127, signal: null, error });
    });
    this.#child.on("exit", (code, signal) =>
      end({ code: code ?? (signal === null ? 1 : 128 + constants.signals[signal]), signal, error: null }),
    );
    this.#child.on("close", () => {
      if (draining !== null) clearTimeout(draining);
      onDrained(this);
    });
  }

  #listening(sink: Sink): Sink {
    if (typeof sink === "string") return sink;
    return (lines) => {
      for (const line of lines) {
        if (line.includes(PEER_FAILED)) this.said.peerFailed = true;
        if (line.includes(INTERRUPTED)) this.said.interrupted = true;
      }
      sink(lines);
    };
  }

  /** Of the process, and of its group; null: it could not be started. */
  get pid(): number | null {
    return this.#child.pid ?? null;
  }

  /** Sends a signal to the process and all that it started; nothing where none of them is left. */
  kill(signal: NodeJS.Signals): void {
    const { pid } = this;
    if (pid === null) return;
    try {
      process.kill(-pid, signal);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && (error.code === "ESRCH" || error.code === "EPERM")))
        throw error;
    }
  }
}

/** @returns a function that stops reading. */
function pour(stream: Readable, sink: (lines: readonly Buffer[]) => void): () => void {
  const splitter = new LineSplitter(sink);
  stream.on("data", (chunk: Buffer) => splitter.push(chunk));
  stream.on("close", () => splitter.end());
  stream.on("error", () => undefined); // its end says the same
  return () => void stream.destroy();
}
