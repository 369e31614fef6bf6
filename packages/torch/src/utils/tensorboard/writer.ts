/** Values, pictures and graphs of a run, as files that TensorBoard reads. */
import { Buffer } from "node:buffer";
import { hostname } from "node:os";
import { join } from "node:path";
import { ArgumentError } from "../../errors.js";
import { eachChunk } from "../../io/chunks.js";
import { Message } from "../../io/protobuf.js";
import { atMost, checkArguments } from "../../options.js";
import { instanceOf } from "../../kinds.js";
import { Module } from "../../nn/module.js";
import { isTensor } from "../../tensor/handle.js";
import type { DType } from "../../tensor/dtype.js";
import type { Tensor } from "../../tensor/tensor.js";
import * as read from "./arguments.js";
import { audioOf } from "./audio.js";
import { curveOf, curveSummary, MOST_THRESHOLDS } from "./curves.js";
import { writeConfig, writeEmbedding } from "./embedding.js";
import { EventFile, VERSION } from "./event-file.js";
import { graphOf, graphProto, runMetadata } from "./graph.js";
import { histogramOf, histogramProto } from "./histogram.js";
import { hparamSummaries } from "./hparams.js";
import { drawBoxes, imageOf, imageProto, pixelsOf, videoOf } from "./images.js";
import { layoutSummary, type CustomLayout } from "./layout.js";
import { meshSummary } from "./mesh.js";
import { doublesOf, numberOf } from "./numbers.js";
import { sizeOfPng } from "./png.js";
import {
  DT,
  DT_BFLOAT16,
  DT_BOOL,
  DT_HALF,
  DT_INT64,
  event,
  floatTensor,
  metadataOf,
  shapeProto,
  stringTensor,
  summary,
  type SummaryValue,
} from "./summary.js";

interface When {
  readonly globalStep?: number | null;
  readonly walltime?: number | null;
}

/**
 * Writes scalars, histograms, pictures, text, hyper-parameters, curves, graphs and more to event files, which
 * `tensorboard --logdir runs` shows. Arguments, their order and their defaults are PyTorch's, by position or by name.
 *
 * Files are appended to, never changed: at most `maxQueue` events wait in memory, for at most `flushSecs`, and `flush`,
 * `close` and the end of the process write them. What was flushed outlives the process, however it ends. Each writer has
 * a file of its own; after `close` the next value opens another. Reading a tensor on a GPU waits for it.
 *
 * Pictures are PNG files, moving ones animated PNGs, which browsers play; they need no other package. A figure is the
 * bytes of a PNG file or a tensor: there is no matplotlib here.
 *
 * @throws {ArgumentError} For arguments of other kinds. @throws {FileError} Where the folder or a file cannot be
 *   written; what was not written waits in memory, and is written with what comes next.
 * @example
 * const writer = new SummaryWriter("runs/first");
 * for (let step = 0; step < 100; step++) writer.addScalar("loss", 1 / (step + 1), step);
 * writer.close();
 */
export class SummaryWriter {
  /** The folder. */
  readonly logDir: string;
  readonly #queue: { readonly maxQueue: number; readonly flushSecs: number; readonly filenameSuffix: string };
  #purgeStep: number | null;
  /** By folder; the first is the writer's own. Empty while it is closed. */
  readonly #files = new Map<string, EventFile>();
  readonly #embeddings: string[] = [];

  constructor(...given: read.SummaryWriterCall) {
    const { logDir, comment, purgeStep, maxQueue, flushSecs, filenameSuffix } = read.readWriter(given);
    this.logDir = logDir === null || logDir === "" ? join("runs", `${timeNow()}_${hostname()}${comment}`) : logDir;
    this.#queue = { maxQueue, flushSecs, filenameSuffix };
    this.#purgeStep = purgeStep;
    this.#file();
  }

  #file(folder = this.logDir): EventFile {
    const there = this.#files.get(folder);
    if (there !== undefined) return there;
    const file = new EventFile(folder, this.#queue);
    this.#files.set(folder, file);
    if (folder === this.logDir && this.#purgeStep !== null) {
      file.add(event({ wallTime: Date.now() / 1000, step: this.#purgeStep, version: VERSION }));
      file.add(event({ wallTime: Date.now() / 1000, step: this.#purgeStep, sessionStart: true }));
      file.flush();
      this.#purgeStep = null;
    }
    return file;
  }

  #write(content: Message, { globalStep = null, walltime = null }: When, file = this.#file()): void {
    file.add(event({ wallTime: walltime ?? Date.now() / 1000, step: globalStep, summary: content }));
  }
  #add(value: SummaryValue, when: When): void {
    this.#write(summary([value]), when);
  }

  /** The folder, as PyTorch's method has it. */
  getLogdir(): string {
    atMost("SummaryWriter.getLogdir", arguments, 0);
    return this.logDir;
  }

  /** One number. */
  addScalar(...given: read.AddScalarCall): void {
    const { tag, scalarValue, newStyle, doublePrecision, ...when } = read.readScalar(given);
    const value = numberOf("SummaryWriter.addScalar", "scalarValue", scalarValue);
    if (!newStyle) return this.#add({ tag, content: { simple: value } }, when);
    const tensor = doublePrecision ? new Message().int(1, DT.double).doubles(6, [value]) : floatTensor(null, [value]);
    this.#add({ tag, content: { tensor }, metadata: metadataOf("scalars") }, when);
  }

  /** Numbers in one chart, each in a folder of its own below the writer's. */
  addScalars(...given: read.AddScalarsCall): void {
    const { mainTag, tagScalarDict, ...when } = read.readScalars(given);
    const { walltime = null } = when;
    const now = walltime ?? Date.now() / 1000;
    for (const [tag, value] of Object.entries(tagScalarDict)) {
      const content = { simple: numberOf("SummaryWriter.addScalars", tag, value) };
      const folder = join(this.logDir, `${mainTag.replaceAll("/", "_")}_${tag}`);
      this.#write(summary([{ tag: mainTag, content }]), { ...when, walltime: now }, this.#file(folder));
    }
  }

  /** A whole tensor, of any shape. float32, float64, float16, bfloat16, whole numbers, bool, complex64. */
  addTensor(...given: read.AddTensorCall): void {
    const { tag, tensor, ...when } = read.readTensor(given);
    const type = TENSOR_TYPES.get(tensor.dtype);
    if (type === undefined)
      throw new ArgumentError("SummaryWriter.addTensor", `a tensor of ${[...TENSOR_TYPES.keys()].join(", ")}`, tensor);
    const parts: Uint8Array[] = [];
    eachChunk(tensor, (bytes) => parts.push(Uint8Array.from(bytes)));
    const proto = new Message().int(1, type).message(2, shapeProto(tensor.shape)).bytes(4, Buffer.concat(parts));
    this.#add({ tag, content: { tensor: proto }, metadata: metadataOf("tensor") }, when);
  }

  /** How values are distributed. */
  addHistogram(...given: read.AddHistogramCall): void {
    const fn = "SummaryWriter.addHistogram";
    const { tag, values, bins, maxBins, ...when } = read.readHistogram(given);
    const histogram = histogramProto(histogramOf(fn, doublesOf(fn, "values", values), bins, maxBins));
    this.#add({ tag, content: { histogram } }, when);
  }

  /** A distribution that was counted elsewhere. */
  addHistogramRaw(...given: read.AddHistogramRawCall): void {
    const fn = "SummaryWriter.addHistogramRaw";
    const { tag, globalStep, walltime, ...data } = read.readHistogramRaw(given);
    const bucketLimits = doublesOf(fn, "bucketLimits", data.bucketLimits);
    const bucketCounts = doublesOf(fn, "bucketCounts", data.bucketCounts);
    if (bucketLimits.length !== bucketCounts.length)
      throw new ArgumentError(fn, "as many bucketCounts as bucketLimits", [bucketLimits.length, bucketCounts.length]);
    this.#add(
      { tag, content: { histogram: histogramProto({ ...data, bucketLimits, bucketCounts }) } },
      { globalStep, walltime },
    );
  }

  /** One picture: `[C, H, W]`, or as `dataformats` says. */
  addImage(...given: read.AddImageCall): void {
    const { tag, imgTensor, dataformats, ...when } = read.readImage(given);
    this.#add({ tag, content: { image: imageOf(pixelsOf("SummaryWriter.addImage", imgTensor, dataformats)) } }, when);
  }

  /** Pictures in rows of eight: `[N, C, H, W]`, or as `dataformats` says. */
  addImages(...given: read.AddImageCall): void {
    const { tag, imgTensor, dataformats, ...when } = read.readImages(given);
    this.#add({ tag, content: { image: imageOf(pixelsOf("SummaryWriter.addImages", imgTensor, dataformats)) } }, when);
  }

  /** A picture with boxes in red. Without labels: there is no font here. */
  addImageWithBoxes(...given: read.AddImageWithBoxesCall): void {
    const fn = "SummaryWriter.addImageWithBoxes";
    const { tag, imgTensor, boxTensor, dataformats, ...when } = read.readImageWithBoxes(given);
    const boxes = doublesOf(fn, "boxTensor", boxTensor);
    if (boxes.length % 4 !== 0 || !boxes.every(Number.isFinite))
      throw new ArgumentError(fn, "boxTensor to be [N, 4] of finite numbers", boxTensor);
    this.#add({ tag, content: { image: imageOf(drawBoxes(pixelsOf(fn, imgTensor, dataformats), boxes)) } }, when);
  }

  /** A figure that something else drew, or several: bytes of PNG files, or tensors of `[C, H, W]`. */
  addFigure(...given: read.AddFigureCall): void {
    const { tag, figure, ...when } = read.readFigure(given);
    const figures = (Array.isArray(figure) ? figure : [figure]) as readonly read.Figure[];
    if (figures.length === 0) throw new ArgumentError("SummaryWriter.addFigure", "at least one figure", figure);
    this.#write(summary(figures.map((each) => ({ tag, content: { image: figureOf(each) } }))), when);
  }

  /** Moving pictures: `[N, T, C, H, W]`, all N side by side. An animated PNG. */
  addVideo(...given: read.AddVideoCall): void {
    const { tag, vidTensor, fps, ...when } = read.readVideo(given);
    this.#add({ tag, content: { image: videoOf("SummaryWriter.addVideo", vidTensor, fps) } }, when);
  }

  /** Sound of one channel, as WAV of 16 bits. What is beyond -1 … 1 is cut off. */
  addAudio(...given: read.AddAudioCall): void {
    const fn = "SummaryWriter.addAudio";
    const { tag, sndTensor, sampleRate, ...when } = read.readAudio(given);
    if (isTensor(sndTensor) && sndTensor.numel() !== Math.max(0, ...sndTensor.shape))
      throw new ArgumentError(fn, "sndTensor of one dimension beside those of size 1", sndTensor);
    this.#add({ tag, content: { audio: audioOf(doublesOf(fn, "sndTensor", sndTensor), sampleRate) } }, when);
  }

  /** Text, as Markdown. */
  addText(...given: read.AddTextCall): void {
    const { tag, textString, ...when } = read.readText(given);
    this.#add(
      {
        tag: `${tag}/text_summary`,
        content: { tensor: stringTensor([1], Buffer.from(textString)) },
        metadata: metadataOf("text"),
      },
      when,
    );
  }

  /**
   * The operators that a model calls, within its modules. The model runs once, in evaluation and without gradients.
   * @param inputToModel - What `forward` is given: one value, or an array of its arguments.
   */
  addGraph(model: Module, inputToModel: unknown = []): void {
    atMost("SummaryWriter.addGraph", arguments, 2);
    checkArguments("SummaryWriter.addGraph", { model }, { model: instanceOf("a module", Module) });
    const graph = graphProto(
      graphOf(model, Array.isArray(inputToModel) ? (inputToModel as unknown[]) : [inputToModel]),
    );
    const wallTime = Date.now() / 1000;
    this.#file().add(event({ wallTime, graph }));
    this.#file().add(event({ wallTime, runMetadata: runMetadata() }));
  }

  /** Vectors for the projector, in files of text below the folder. */
  addEmbedding(...given: read.AddEmbeddingCall): void {
    const fn = "SummaryWriter.addEmbedding";
    const { mat, metadata, labelImg: images, globalStep, tag, metadataHeader: header } = read.readEmbedding(given);
    const embedding = { mat, metadata, header, images, tag, step: globalStep ?? 0 };
    this.#embeddings.push(writeEmbedding(fn, this.logDir, embedding));
    writeConfig(fn, this.logDir, this.#embeddings);
  }

  /** Precision over recall, of labels and probabilities. */
  addPrCurve(...given: read.AddPrCurveCall): void {
    const fn = "SummaryWriter.addPrCurve";
    const { tag, labels, predictions, numThresholds, weights, ...when } = read.readPrCurve(given);
    const thresholds = Math.min(numThresholds, MOST_THRESHOLDS);
    const [truth, guesses] = [doublesOf(fn, "labels", labels), doublesOf(fn, "predictions", predictions)];
    const rows = curveOf(fn, truth, guesses, thresholds, weights === null ? null : doublesOf(fn, "weights", weights));
    this.#write(curveSummary(fn, tag, rows, thresholds), when);
  }

  /** Precision over recall, of counts by threshold. */
  addPrCurveRaw(...given: read.AddPrCurveRawCall): void {
    const fn = "SummaryWriter.addPrCurveRaw";
    const { tag, numThresholds, globalStep, walltime, ...lists } = read.readPrCurveRaw(given);
    const of = (name: keyof typeof lists): Float64Array => doublesOf(fn, name, lists[name]);
    const rows = [
      of("truePositiveCounts"),
      of("falsePositiveCounts"),
      of("trueNegativeCounts"),
      of("falseNegativeCounts"),
      of("precision"),
      of("recall"),
    ] as const;
    this.#write(curveSummary(fn, tag, rows, Math.min(numThresholds, MOST_THRESHOLDS)), { globalStep, walltime });
  }

  /** Charts of several scalars. Once per writer: a later layout takes the place of an earlier one. */
  addCustomScalars(layout: CustomLayout): void {
    atMost("SummaryWriter.addCustomScalars", arguments, 1);
    checkArguments("SummaryWriter.addCustomScalars", { layout }, { layout: read.LAYOUT });
    this.#write(layoutSummary("SummaryWriter.addCustomScalars", layout), {});
  }

  /** One chart of several lines. */
  addCustomScalarsMultilinechart(...given: read.CustomChartCall): void {
    const { tags, category, title } = read.readMultilinechart(given);
    this.addCustomScalars({ [category]: { [title]: ["Multiline", tags] } });
  }

  /** One chart of a line with its margin: tags of the value, the lower and the upper limit. */
  addCustomScalarsMarginchart(...given: read.CustomChartCall): void {
    const { tags, category, title } = read.readMarginchart(given);
    this.addCustomScalars({ [category]: { [title]: ["Margin", tags] } });
  }

  /** Points in space, or triangles. */
  addMesh(...given: read.AddMeshCall): void {
    const { tag, vertices, colors, faces, configDict, ...when } = read.readMesh(given);
    const parts = { vertices, colors, faces, config: configDict };
    this.#write(meshSummary("SummaryWriter.addMesh", tag, parts), when);
  }

  /**
   * Hyper-parameters and the metrics that they led to: a run of its own, in a folder below the writer's, for the table
   * HPARAMS. Numbers, strings, true and false; null is left out.
   */
  addHparams(...given: read.AddHparamsCall): void {
    const { hparamDict, metricDict, hparamDomainDiscrete, runName, globalStep } = read.readHparams(given);
    const writer = new SummaryWriter(join(this.logDir, runName ?? String(Date.now() / 1000)));
    try {
      writer.addHparamSummaries(hparamDict, Object.keys(metricDict), globalStep, hparamDomainDiscrete ?? {});
      for (const [tag, value] of Object.entries(metricDict)) writer.addScalar(tag, value, globalStep);
    } finally {
      writer.close();
    }
  }

  /** @internal The same in this writer's own file, without values of the metrics. */
  addHparamSummaries(
    hparams: Parameters<typeof hparamSummaries>[1],
    metrics: readonly string[],
    globalStep: number | null,
    domains: Parameters<typeof hparamSummaries>[3] = {},
  ): void {
    for (const content of hparamSummaries("SummaryWriter.addHparams", hparams, metrics, domains))
      this.#write(content, { globalStep });
  }

  /** The operating system has every event when this returns. */
  flush(): void {
    atMost("SummaryWriter.flush", arguments, 0);
    for (const file of this.#files.values()) file.flush();
  }

  /** Flush, and close the files. A value that comes later opens new ones. */
  close(): void {
    atMost("SummaryWriter.close", arguments, 0);
    for (const [folder, file] of this.#files) {
      file.close();
      this.#files.delete(folder);
    }
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

const TENSOR_TYPES: ReadonlyMap<DType, number> = new Map<DType, number>([
  ["float32", DT.float],
  ["float64", DT.double],
  ["float16", DT_HALF],
  ["bfloat16", DT_BFLOAT16],
  ["int8", DT.int8],
  ["uint8", DT.uint8],
  ["int16", DT.int16],
  ["int32", DT.int32],
  ["int64", DT_INT64],
  ["bool", DT_BOOL],
  ["complex64", DT.complex64],
]);

function figureOf(figure: Uint8Array | Tensor): Message {
  if (isTensor(figure)) return imageOf(pixelsOf("SummaryWriter.addFigure", figure, "CHW"));
  const size = sizeOfPng(figure);
  if (size === null) throw new ArgumentError("SummaryWriter.addFigure", "the bytes of a PNG file", figure);
  return imageProto(size, figure);
}

/** As `May04_22-14-54`. */
function timeNow(): string {
  const now = new Date();
  const two = (value: number): string => String(value).padStart(2, "0");
  const month = now.toLocaleString("en", { month: "short" });
  return `${month}${two(now.getDate())}_${two(now.getHours())}-${two(now.getMinutes())}-${two(now.getSeconds())}`;
}
