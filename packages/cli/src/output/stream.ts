/** Predictions into a file of text while they are made: memory holds one batch of them. */
import { closeSync, mkdirSync, openSync, renameSync, rmSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { Callback, type Batch, type LightningModule, type TrainerView } from "@nbit/lightning";
import { withFile } from "@nbit/torch";
import { writeAll } from "@nbit/torch/files";
import { CommandError } from "../errors.js";
import { columnsOf } from "./columns.js";
import { checkOutput } from "./formats.js";
import { CSV, JSON_LINES, type TextRows } from "./text-rows.js";
import { fileOf } from "./write.js";

interface Open {
  readonly path: string;
  readonly temporary: string;
  readonly fd: number;
  readonly header: string;
}

/** Null: files of this kind are written whole. */
export function streamTo(path: string): PredictionStream | null {
  const format = checkOutput(path);
  if (format === ".csv") return new PredictionStream(path, CSV);
  return format === ".jsonl" ? new PredictionStream(path, JSON_LINES) : null;
}

/** Lines go to a temporary file, which takes the name when all are there. Of several processes none streams. */
export class PredictionStream extends Callback {
  readonly #path: string;
  readonly #rows: TextRows;
  readonly #open = new Map<number, Open>();
  /** Files that are whole. */
  readonly written: string[] = [];

  constructor(path: string, rows: TextRows) {
    super();
    this.#path = path;
    this.#rows = rows;
  }

  override onPredictBatchEnd(
    trainer: TrainerView,
    _module: LightningModule,
    outputs: unknown,
    _batch: Batch,
    batchIdx: number,
    dataloaderIdx: number,
  ): void {
    if (trainer.worldSize > 1) return;
    const columns = columnsOf([outputs]);
    const header = this.#rows.header(columns);
    const names = columns.map(({ name }) => name).join(", ");
    const file = this.#open.get(dataloaderIdx) ?? this.#begin(dataloaderIdx, header, trainer.numPredictBatches.length);
    if (file.header !== header)
      throw new CommandError(
        "ERR_PREDICTIONS",
        `nbit predict: expected every batch to predict the columns of the first, ${file.header.trimEnd()}. Received: ${names} as ${header.trimEnd()} in batch ${batchIdx}. A file that ends in .jsonl takes rows of any shape.`,
      );
    writeLines(file, this.#rows.lines(columns));
  }

  override onPredictEnd(trainer: TrainerView): void {
    if (trainer.worldSize > 1) return;
    for (const { fd, temporary, path } of this.#open.values()) {
      closeSync(fd);
      renameSync(temporary, path);
      this.written.push(path);
    }
    this.#open.clear();
  }

  override onException(): void {
    for (const { fd, temporary } of this.#open.values()) {
      closeSync(fd);
      rmSync(temporary, { force: true });
    }
    this.#open.clear();
  }

  #begin(loader: number, header: string, loaders: number): Open {
    const path = fileOf(this.#path, loader, loaders);
    const temporary = `${path}.${process.pid}.tmp`;
    mkdirSync(dirname(resolve(path)), { recursive: true });
    const fd = withFile("nbit predict", "write", path, () => openSync(temporary, "w"));
    const file = { path, temporary, fd, header };
    this.#open.set(loader, file);
    writeLines(file, header);
    return file;
  }
}

function writeLines({ fd, path }: Open, text: string): void {
  withFile("nbit predict", "write", path, () => {
    writeAll(fd, Buffer.from(text));
  });
}
