/** A run of Weights & Biases that is kept in files until `wandb sync` sends it. */
import { Buffer } from "node:buffer";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { dirname, extname, join } from "node:path";
import { ArgumentError, atMost, checkArguments, isTensor, kinds, withFile, type Tensor } from "@nbit/torch";
import { pixelsOf, png, sizeOfPng } from "@nbit/torch/media";
import { Message } from "@nbit/torch/protobuf";
import { isPlain } from "@nbit/torch/realm";
import { WandbFile } from "./wandb-file.js";

export interface WandbSettings {
  readonly id: string;
  /** Shown for the run; null: W&B chooses a name. */
  readonly name: string | null;
  readonly project: string;
  readonly entity: string | null;
  readonly group: string | null;
  readonly jobType: string | null;
  readonly notes: string | null;
  readonly tags: readonly string[];
  /** Folder in which `wandb/` is made. */
  readonly saveDir: string;
  /** The first step of `log`. */
  readonly startingStep: number;
}

/** Numbers of `Record`'s fields. */
const RECORD = { history: 2, summary: 3, config: 5, files: 6, metric: 12, run: 17, exit: 18, header: 21 } as const;

/** What `run.log` takes by name: plain values, which become JSON. */
export type WandbData = Readonly<Record<string, unknown>>;

/**
 * An offline run: `<saveDir>/wandb/offline-run-<time>-<id>/run-<id>.wandb`, with pictures and tables in `files/media`.
 * `wandb sync <folder>` sends it, also while it is being written. Each call is in the file when it returns: a kill loses
 * nothing, and `wandb sync` shows such a run as crashed.
 */
export class WandbRun {
  readonly id: string;
  readonly name: string | null;
  readonly project: string;
  /** The run's folder. */
  readonly dir: string;
  /** Hyper-parameters. */
  readonly config: { readonly update: (values: WandbData) => void };
  /** The last value of each metric, or what stands for the run. */
  readonly summary: { readonly update: (values: WandbData) => void };
  readonly #file: WandbFile;
  readonly #startedAt = Date.now();
  #records = 0;
  #step: number;
  #finished = false;

  /** @internal By `WandbLogger`. */
  constructor(settings: WandbSettings) {
    const { id, name, project, saveDir } = settings;
    this.id = id;
    this.name = name;
    this.project = project;
    this.#step = settings.startingStep;
    this.dir = freeFolder(join(saveDir, "wandb"), id);
    this.#file = new WandbFile(join(this.dir, `run-${id}.wandb`));
    this.#add(RECORD.header, new Message().message(1, new Message().text(1, "@nbit/lightning").text(2, "0.10.0")));
    this.#add(RECORD.run, runProto(settings, this.#startedAt));
    const items = (values: WandbData): Message => {
      checkArguments("WandbRun.update", { values }, { values: kinds.record });
      const all = new Message();
      for (const [key, value] of Object.entries(values)) all.message(1, item(key, value));
      return all;
    };
    this.config = { update: (values) => this.#add(RECORD.config, items(values)) };
    this.summary = { update: (values) => this.#add(RECORD.summary, items(values)) };
  }

  #add(field: number, content: Message): void {
    if (this.#finished) throw new ArgumentError("WandbRun", "a run that is not finished", this.id);
    const info = new Message().text(1, this.id);
    this.#file.add(new Message().int(1, ++this.#records).message(field, content).message(200, info));
  }

  /** The step of the next `log`. */
  get step(): number {
    return this.#step;
  }

  /** One row of the history, whose step is one more than the last one's; and its values as those of the summary. */
  log(data: WandbData): void {
    atMost("WandbRun.log", arguments, 1);
    checkArguments("WandbRun.log", { data }, { data: kinds.record });
    const now = Date.now();
    const row = { ...data, _step: this.#step, _runtime: (now - this.#startedAt) / 1000, _timestamp: now / 1000 };
    const history = new Message();
    const summary = new Message();
    for (const [key, value] of Object.entries(row)) {
      history.message(1, item(key, value));
      summary.message(1, item(key, value));
    }
    this.#add(RECORD.history, history.message(2, new Message().int(1, this.#step)));
    this.#add(RECORD.summary, summary);
    this.#step++;
  }

  /** Over which other metric charts show metrics of this name; "*" for all. */
  defineMetric(name: string, stepMetric: string | null = null): void {
    atMost("WandbRun.defineMetric", arguments, 2);
    checkArguments(
      "WandbRun.defineMetric",
      { name, stepMetric },
      { name: kinds.filled, stepMetric: kinds.orNull(kinds.filled) },
    );
    const metric = new Message().text(name.includes("*") ? 2 : 1, name);
    if (stepMetric !== null) metric.text(4, stepMetric);
    const options = new Message();
    if (stepMetric !== null) options.int(1, 1);
    this.#add(RECORD.metric, metric.message(6, options.int(3, 1)));
  }

  /** @internal Copy a file, or write bytes, to the run's media. @returns What a row says of it. */
  addMedia(kind: string, key: string, content: Uint8Array | string, extension: string): MediaFile {
    const bytes =
      typeof content === "string" ? withFile("WandbLogger", "read", content, () => readFileSync(content)) : content;
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const safe = key
      .split("/")
      .map((part) => part.replace(/[^\w.-]/g, "_").replace(/^\.+$/, "_"))
      .join("/");
    const path = `media/${kind}/${safe}_${this.#step}_${sha256.slice(0, 20)}.${extension}`;
    const target = join(this.dir, "files", path);
    withFile("WandbLogger", "write", target, () => {
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, bytes);
    });
    // Sent when the run is; 2: a file of media.
    this.#add(RECORD.files, new Message().message(1, new Message().text(1, path).int(2, 1).int(3, 2)));
    return { path, sha256, size: bytes.length };
  }

  /** The run has ended: W&B shows it as finished, or as failed for another code than 0. */
  finish(exitCode = 0): void {
    atMost("WandbRun.finish", arguments, 1);
    checkArguments("WandbRun.finish", { exitCode }, { exitCode: kinds.whole("[0, 255]") });
    if (this.#finished) return;
    const exit = new Message();
    if (exitCode !== 0) exit.int(1, exitCode);
    this.#add(RECORD.exit, exit.int(2, Math.round((Date.now() - this.#startedAt) / 1000)));
    this.#finished = true;
    this.#file.close();
  }
}

export interface MediaFile {
  readonly path: string;
  readonly sha256: string;
  readonly size: number;
}

/** A picture of a file, of bytes, or of a tensor `[C, H, W]`. */
export type WandbImage = string | Uint8Array | Tensor;

/** Pictures as one value of a row. */
export function imagesValue(
  run: WandbRun,
  key: string,
  images: readonly WandbImage[],
  captions: readonly string[] | null,
): object {
  const files = images.map((image) => {
    if (typeof image === "string")
      return { file: run.addMedia("images", key, image, extname(image).slice(1) || "png"), size: null };
    if (!isTensor(image)) {
      const size = sizeOfPng(image);
      if (size === null)
        throw new ArgumentError("WandbLogger.logImage", "a path, a tensor, or the bytes of a PNG file", image);
      return { file: run.addMedia("images", key, image, "png"), size };
    }
    const pixels = pixelsOf("WandbLogger.logImage", image, image.ndim === 2 ? "HW" : "CHW");
    return { file: run.addMedia("images", key, png(pixels), "png"), size: pixels };
  });
  return {
    _type: "images/separated",
    width: files[0]?.size?.width ?? 0,
    height: files[0]?.size?.height ?? 0,
    format: extname(files[0]?.file.path ?? ".png").slice(1),
    count: files.length,
    filenames: files.map(({ file }) => file.path),
    captions: captions ?? false,
  };
}

/** A table as one value of a row. */
export function tableValue(
  run: WandbRun,
  key: string,
  columns: readonly string[],
  data: readonly (readonly unknown[])[],
): object {
  const content = Buffer.from(JSON.stringify({ columns, data }, plain));
  const file = run.addMedia("table", key, content, "table.json");
  return { _type: "table-file", ncols: columns.length, nrows: data.length, log_mode: "IMMUTABLE", ...file };
}

/** Sounds or films of files, as one value of a row. */
export function clipsValue(
  run: WandbRun,
  kind: "audio" | "videos",
  key: string,
  clips: readonly string[],
  captions: readonly string[] | null,
): object {
  const type = kind === "audio" ? "audio-file" : "video-file";
  const files = clips.map((path) => ({
    _type: type,
    ...run.addMedia(kind, key, path, extname(path).slice(1) || "bin"),
  }));
  return { _type: kind, count: files.length, [kind]: files, captions: captions ?? false };
}

function item(key: string, value: unknown): Message {
  return new Message().text(1, key).text(16, JSON.stringify(value, plain) ?? "null");
}

/** JSON has no word for these three; W&B's client writes them so. */
function plain(_key: string, value: unknown): unknown {
  if (typeof value === "number" && !Number.isFinite(value))
    return Number.isNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
  if (typeof value === "bigint") return String(value);
  if (typeof value === "function") return `function ${value.name || "(anonymous)"}`;
  return typeof value === "object" && value !== null && !Array.isArray(value) && !isPlain(value) && !("toJSON" in value)
    ? String(value)
    : value;
}

function runProto(settings: WandbSettings, startedAt: number): Message {
  const { id, entity, project, group, jobType, name, notes, tags, startingStep } = settings;
  const run = new Message().text(1, id);
  if (entity !== null) run.text(2, entity);
  run.text(3, project);
  if (group !== null) run.text(6, group);
  if (jobType !== null) run.text(7, jobType);
  if (name !== null) run.text(8, name);
  if (notes !== null) run.text(9, notes);
  for (const tag of tags) run.text(10, tag);
  run.text(13, hostname());
  if (startingStep > 0) run.int(14, startingStep);
  const nanos = (startedAt % 1000) * 1e6;
  return run.message(17, new Message().int(1, Math.floor(startedAt / 1000)).int(2, nanos));
}

/** `offline-run-20261201_134500-<id>`; making it is what claims it. */
function freeFolder(root: string, id: string): string {
  withFile("WandbLogger", "make the folder", root, () => mkdirSync(root, { recursive: true }));
  for (let second = Date.now(); ; second += 1000) {
    const folder = join(root, `offline-run-${timeOf(new Date(second))}-${id}`);
    if (statSync(folder, { throwIfNoEntry: false }) !== undefined) continue;
    withFile("WandbLogger", "make the folder", folder, () => {
      mkdirSync(folder);
      mkdirSync(join(folder, "files"));
      mkdirSync(join(folder, "logs"));
    });
    return folder;
  }
}
function timeOf(time: Date): string {
  const two = (value: number): string => String(value).padStart(2, "0");
  const date = `${time.getFullYear()}${two(time.getMonth() + 1)}${two(time.getDate())}`;
  return `${date}_${two(time.getHours())}${two(time.getMinutes())}${two(time.getSeconds())}`;
}

/** As W&B makes them: eight letters and digits. */
export function newId(): string {
  return [...randomBytes(8)].map((byte) => "abcdefghijklmnopqrstuvwxyz0123456789"[byte % 36]).join("");
}
