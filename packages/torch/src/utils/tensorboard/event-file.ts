/** A file of events: length, checksum, message, checksum; again and again, only ever appended to. */
import { Buffer } from "node:buffer";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { withFile } from "../../io/errors.js";
import { Message } from "../../io/protobuf.js";
import { WholeAppends } from "../../io/whole-appends.js";
import { isError } from "../../realm.js";
import { plainText } from "../../plain-text.js";
import { maskedCrc32c } from "./crc32c.js";

export interface QueueOptions {
  /** Events that may wait in memory. */
  readonly maxQueue: number;
  /** Seconds that they may wait. */
  readonly flushSecs: number;
  readonly filenameSuffix: string;
}

/** Files of this process: the second of a folder within a second has another name. */
let count = 0;
const open = new Set<EventFile>();

/** Nobody is left to catch an error when a process ends: it is said. */
function flushAll(): void {
  for (const file of open)
    try {
      file.flush();
    } catch (error) {
      process.stderr.write(`${plainText(isError(error) ? error.message : error)}\n`);
    }
}

export class EventFile {
  readonly path: string;
  readonly #fd: number;
  readonly #queue: QueueOptions;
  #pending: Buffer[] = [];
  #timer: NodeJS.Timeout | null = null;
  #waitingSince = 0;
  readonly #file: WholeAppends;

  constructor(
    readonly folder: string,
    queue: QueueOptions,
  ) {
    this.#queue = queue;
    withFile("SummaryWriter", "make the folder", folder, () => mkdirSync(folder, { recursive: true }));
    const seconds = String(Math.floor(Date.now() / 1000)).padStart(10, "0");
    // Readers go by the order of names.
    const number = String(count++).padStart(4, "0");
    const name = `events.out.tfevents.${seconds}.${hostname()}.${process.pid}.${number}${queue.filenameSuffix}`;
    this.path = resolve(join(folder, name));
    this.#fd = withFile("SummaryWriter", "make", this.path, () => openSync(this.path, "ax"));
    this.#file = new WholeAppends("SummaryWriter", this.path, this.#fd, "What was not written waits in memory.");
    if (open.size === 0) process.on("exit", flushAll);
    open.add(this);
    this.add(
      new Message()
        .double(1, Date.now() / 1000)
        .text(3, VERSION)
        .message(10, new Message().text(1, "@nbit/torch")),
    );
    this.flush();
  }

  /** Take one event; write when enough wait, or have waited long enough. */
  add(event: Message): void {
    this.#pending.push(framed(event));
    if (this.#pending.length === 1) this.#waitingSince = performance.now();
    const late = performance.now() - this.#waitingSince >= this.#queue.flushSecs * 1000;
    if (this.#pending.length > this.#queue.maxQueue || late) this.flush();
    else this.#timer ??= this.#later();
  }

  #later(): NodeJS.Timeout {
    const ms = Math.min(this.#queue.flushSecs * 1000, 2 ** 31 - 1);
    return setTimeout(() => {
      this.#timer = null;
      try {
        this.flush();
      } catch {
        // What was not written waits: the next event, or flush, tries again and says why.
      }
    }, ms).unref();
  }

  /** The operating system has every event when this returns: nothing is lost when the process is killed. */
  flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#pending.length === 0) return;
    this.#file.append(Buffer.concat(this.#pending));
    this.#pending = [];
  }

  close(): void {
    if (!open.has(this)) return;
    this.flush();
    open.delete(this);
    if (open.size === 0) process.removeListener("exit", flushAll);
    withFile("SummaryWriter", "close", this.path, () => closeSync(this.#fd));
  }
}

/** What readers ask for first. */
export const VERSION = "brain.Event:2";

/** A record: length (8 bytes), its checksum, the message, its checksum. */
export function framed(event: Message): Buffer {
  const record = Buffer.allocUnsafe(event.length + 16);
  record.writeBigUInt64LE(BigInt(event.length), 0);
  record.writeUInt32LE(maskedCrc32c(record.subarray(0, 8)), 8);
  let at = 12;
  for (const part of event.parts) {
    record.set(part, at);
    at += part.length;
  }
  record.writeUInt32LE(maskedCrc32c(record.subarray(12, at)), at);
  return record;
}
