/** The thread of a {@link BackgroundWriter}. Loads nothing native. */
import { workerData } from "node:worker_threads";
import { NbitError } from "../errors.js";
import { isError } from "../realm.js";
import { COUNTS, type WriteAnswer, type WriteOrder, type WriterStart } from "./background-writer.js";
import { FileError } from "./errors.js";
import { replaceFile, writeAll } from "./replace.js";

const { port, counts } = workerData as WriterStart;

function write({ fn, path, pieces }: WriteOrder): WriteAnswer {
  try {
    replaceFile(fn, path, (fd) => pieces.forEach((piece) => writeAll(fd, piece)), true);
    return null;
  } catch (error) {
    const code = error instanceof NbitError ? error.code : "ERR_BACKGROUND_WRITER";
    return { message: isError(error) ? error.message : String(error), code, isFile: error instanceof FileError };
  }
}

function tell(count: number): void {
  Atomics.add(counts, count, 1);
  Atomics.notify(counts, COUNTS.answered);
}

process.on("exit", () => {
  tell(COUNTS.ended);
});
port.on("message", (order: WriteOrder) => {
  const answer = write(order);
  port.postMessage(answer);
  tell(COUNTS.answered);
});
