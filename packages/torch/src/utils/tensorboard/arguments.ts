/** What the methods of a SummaryWriter take, in PyTorch's order. */
import {
  anything,
  byDefault,
  either,
  filled,
  flag,
  listOf,
  oneOf,
  orNull,
  real,
  record,
  such,
  text,
  whole,
} from "../../kinds.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { tensorKind } from "../../tensor/kinds.js";
import type { Tensor } from "../../tensor/tensor.js";
import { BIN_RULES, type Bins } from "./histogram.js";
import { numbersKind, scalarKind, type Numbers, type Scalar } from "./numbers.js";
import type { CustomLayout } from "./layout.js";
import type { HparamValue } from "./hparams.js";

/** What stands behind the values of most methods. */
export interface At {
  /** The step that the values belong to. Default: none, which readers show as 0. */
  readonly globalStep?: number | null;
  /** Seconds since 1970. Default: now. */
  readonly walltime?: number | null;
}
const STEP = byDefault(null, orNull(whole()));
const WALLTIME = byDefault(null, orNull(real()));
const AT = { globalStep: STEP, walltime: WALLTIME } as const;
type AtNames = ["globalStep", "walltime"];
type AtPositions = [globalStep?: number | null, walltime?: number | null];
const name = (method: string): string => `SummaryWriter.${method}`;

export interface AddScalarArguments extends At {
  readonly tag: string;
  readonly scalarValue: Scalar;
  /** As a tensor instead of a plain number. Default false. */
  readonly newStyle?: boolean;
  /** With `newStyle`: all 64 bits. Default false: 32. */
  readonly doublePrecision?: boolean;
}
export const readScalar = signature(name("addScalar"), {
  tag: filled,
  scalarValue: scalarKind,
  ...AT,
  newStyle: byDefault(false, flag),
  doublePrecision: byDefault(false, flag),
} satisfies OptionNames<AddScalarArguments>);
export type AddScalarCall = Call<
  AddScalarArguments,
  ["tag", "scalarValue", ...AtNames, "newStyle", "doublePrecision"],
  [tag: string, scalarValue: Scalar, ...AtPositions, newStyle?: boolean, doublePrecision?: boolean]
>;

export interface AddScalarsArguments extends At {
  readonly mainTag: string;
  readonly tagScalarDict: Readonly<Record<string, Scalar>>;
}
export const readScalars = signature(name("addScalars"), {
  mainTag: filled,
  tagScalarDict: such<Readonly<Record<string, Scalar>>>(
    "an object of numbers by name",
    (v) => record.accepts(v) && Object.values(v as object).every((x) => scalarKind.accepts(x)),
  ),
  ...AT,
} satisfies OptionNames<AddScalarsArguments>);
export type AddScalarsCall = Call<
  AddScalarsArguments,
  ["mainTag", "tagScalarDict", ...AtNames],
  [mainTag: string, tagScalarDict: Readonly<Record<string, Scalar>>, ...AtPositions]
>;

export interface AddTensorArguments extends At {
  readonly tag: string;
  readonly tensor: Tensor;
}
export const readTensor = signature(name("addTensor"), {
  tag: filled,
  tensor: tensorKind,
  ...AT,
} satisfies OptionNames<AddTensorArguments>);
export type AddTensorCall = Call<
  AddTensorArguments,
  ["tag", "tensor", ...AtNames],
  [tag: string, tensor: Tensor, ...AtPositions]
>;

export interface AddHistogramArguments extends At {
  readonly tag: string;
  readonly values: Numbers;
  /** Default "tensorflow": bins that grow by a tenth, from 1e-12 to 1e20 on both sides of 0. */
  readonly bins?: Bins;
  /** Join bins until there are about so many. Default null: as they are. */
  readonly maxBins?: number | null;
}
const bins = such<Bins>(
  `"tensorflow", ${BIN_RULES.map((rule) => `"${rule}"`).join(", ")}, a number of bins, or an array of edges`,
  (v) =>
    oneOf("tensorflow", ...BIN_RULES).accepts(v) ||
    (whole("[1, ∞)").accepts(v) && (v as number) <= 2 ** 24) ||
    listOf(real()).accepts(v),
);
export const readHistogram = signature(name("addHistogram"), {
  tag: filled,
  values: numbersKind,
  globalStep: STEP,
  bins: byDefault("tensorflow", bins),
  walltime: WALLTIME,
  maxBins: byDefault(null, orNull(whole("[1, ∞)"))),
} satisfies OptionNames<AddHistogramArguments>);
export type AddHistogramCall = Call<
  AddHistogramArguments,
  ["tag", "values", "globalStep", "bins", "walltime", "maxBins"],
  [
    tag: string,
    values: Numbers,
    globalStep?: number | null,
    bins?: Bins,
    walltime?: number | null,
    maxBins?: number | null,
  ]
>;

export interface AddHistogramRawArguments extends At {
  readonly tag: string;
  readonly min: number;
  readonly max: number;
  readonly num: number;
  readonly sum: number;
  readonly sumSquares: number;
  /** Upper limit of each bucket. */
  readonly bucketLimits: Numbers;
  readonly bucketCounts: Numbers;
}
const number = real("[-∞, ∞]");
export const readHistogramRaw = signature(name("addHistogramRaw"), {
  tag: filled,
  min: number,
  max: number,
  num: number,
  sum: number,
  sumSquares: number,
  bucketLimits: numbersKind,
  bucketCounts: numbersKind,
  ...AT,
} satisfies OptionNames<AddHistogramRawArguments>);
export type AddHistogramRawCall = Call<
  AddHistogramRawArguments,
  ["tag", "min", "max", "num", "sum", "sumSquares", "bucketLimits", "bucketCounts", ...AtNames],
  [
    tag: string,
    min: number,
    max: number,
    num: number,
    sum: number,
    sumSquares: number,
    bucketLimits: Numbers,
    bucketCounts: Numbers,
    ...AtPositions,
  ]
>;

export interface AddImageArguments extends At {
  readonly tag: string;
  /** uint8, or 0 … 1 of another dtype. */
  readonly imgTensor: Tensor;
  /** A letter per dimension: CHW (addImages: NCHW), HWC, HW, WH, … */
  readonly dataformats?: string;
}
const image = (method: string, formats: string) =>
  signature(name(method), {
    tag: filled,
    imgTensor: tensorKind,
    ...AT,
    dataformats: byDefault(formats, filled),
  } satisfies OptionNames<AddImageArguments>);
export const readImage = image("addImage", "CHW");
export const readImages = image("addImages", "NCHW");
export type AddImageCall = Call<
  AddImageArguments,
  ["tag", "imgTensor", ...AtNames, "dataformats"],
  [tag: string, imgTensor: Tensor, ...AtPositions, dataformats?: string]
>;

export interface AddImageWithBoxesArguments extends AddImageArguments {
  /** `[N, 4]`: xmin, ymin, xmax, ymax, in pixels. */
  readonly boxTensor: Numbers;
}
export const readImageWithBoxes = signature(
  name("addImageWithBoxes"),
  {
    tag: filled,
    imgTensor: tensorKind,
    boxTensor: numbersKind,
    ...AT,
    dataformats: byDefault("CHW", filled),
  } satisfies OptionNames<AddImageWithBoxesArguments>,
  5,
);
export type AddImageWithBoxesCall = Call<
  AddImageWithBoxesArguments,
  ["tag", "imgTensor", "boxTensor", ...AtNames],
  [tag: string, imgTensor: Tensor, boxTensor: Numbers, ...AtPositions]
>;

/** A picture: the bytes of a PNG file, or a tensor of `[C, H, W]`. */
export type Figure = Uint8Array | Tensor;
export interface AddFigureArguments extends At {
  readonly tag: string;
  readonly figure: Figure | readonly Figure[];
}
const figure = such<Figure>(
  "the bytes of a PNG file, or a tensor",
  (v) => v instanceof Uint8Array || tensorKind.accepts(v),
);
export const readFigure = signature(name("addFigure"), {
  tag: filled,
  figure: {
    ...either(figure, listOf(figure)),
    meant: (v) =>
      typeof v === "string" && v.includes("<svg")
        ? "TensorBoard shows no SVG: make it a PNG, such as await sharp(Buffer.from(svg)).png().toBuffer()."
        : "",
  },
  ...AT,
} satisfies OptionNames<AddFigureArguments>);
export type AddFigureCall = Call<
  AddFigureArguments,
  ["tag", "figure", ...AtNames],
  [tag: string, figure: Figure | readonly Figure[], ...AtPositions]
>;

export interface AddVideoArguments extends At {
  readonly tag: string;
  /** `[N, T, C, H, W]`, as images are. */
  readonly vidTensor: Tensor;
  /** Frames a second. Default 4. */
  readonly fps?: number;
}
export const readVideo = signature(name("addVideo"), {
  tag: filled,
  vidTensor: tensorKind,
  globalStep: STEP,
  fps: byDefault(4, real("(0, 1000]")),
  walltime: WALLTIME,
} satisfies OptionNames<AddVideoArguments>);
export type AddVideoCall = Call<
  AddVideoArguments,
  ["tag", "vidTensor", "globalStep", "fps", "walltime"],
  [tag: string, vidTensor: Tensor, globalStep?: number | null, fps?: number, walltime?: number | null]
>;

export interface AddAudioArguments extends At {
  readonly tag: string;
  /** `[1, L]` or `[L]`, -1 … 1. */
  readonly sndTensor: Numbers;
  /** Samples a second. Default 44100. */
  readonly sampleRate?: number;
}
export const readAudio = signature(name("addAudio"), {
  tag: filled,
  sndTensor: numbersKind,
  globalStep: STEP,
  sampleRate: byDefault(44100, whole("[1, 4294967295]")),
  walltime: WALLTIME,
} satisfies OptionNames<AddAudioArguments>);
export type AddAudioCall = Call<
  AddAudioArguments,
  ["tag", "sndTensor", "globalStep", "sampleRate", "walltime"],
  [tag: string, sndTensor: Numbers, globalStep?: number | null, sampleRate?: number, walltime?: number | null]
>;

export interface AddTextArguments extends At {
  readonly tag: string;
  /** Markdown. */
  readonly textString: string;
}
export const readText = signature(name("addText"), {
  tag: filled,
  textString: text,
  ...AT,
} satisfies OptionNames<AddTextArguments>);
export type AddTextCall = Call<
  AddTextArguments,
  ["tag", "textString", ...AtNames],
  [tag: string, textString: string, ...AtPositions]
>;

export interface AddEmbeddingArguments {
  /** `[N, D]`: a vector a row. */
  readonly mat: Tensor;
  /** A label per row, or with `metadataHeader` a list of them. */
  readonly metadata?: readonly unknown[] | null;
  /** `[N, C, H, W]`: a picture per row. */
  readonly labelImg?: Tensor | null;
  readonly globalStep?: number | null;
  /** Default "default". */
  readonly tag?: string;
  /** Names of the columns of `metadata`. */
  readonly metadataHeader?: readonly string[] | null;
}
export const readEmbedding = signature(name("addEmbedding"), {
  mat: tensorKind,
  metadata: byDefault(null, orNull(listOf<unknown>(anything))),
  labelImg: byDefault(null, orNull(tensorKind)),
  globalStep: STEP,
  tag: byDefault("default", filled),
  metadataHeader: byDefault(null, orNull(listOf(text))),
} satisfies OptionNames<AddEmbeddingArguments>);
export type AddEmbeddingCall = Call<
  AddEmbeddingArguments,
  ["mat", "metadata", "labelImg", "globalStep", "tag", "metadataHeader"],
  [
    mat: Tensor,
    metadata?: readonly unknown[] | null,
    labelImg?: Tensor | null,
    globalStep?: number | null,
    tag?: string,
    metadataHeader?: readonly string[] | null,
  ]
>;

interface Thresholds extends At {
  readonly tag: string;
  /** How many points the curve has. Default 127, which is also the most: more count as 127. */
  readonly numThresholds?: number;
}
export interface AddPrCurveArguments extends Thresholds {
  /** 0 or 1. */
  readonly labels: Numbers;
  /** Probabilities, 0 … 1. */
  readonly predictions: Numbers;
  /** Of each label, or one for all. Default: 1. */
  readonly weights?: Numbers | null;
}
const THRESHOLDS = byDefault(127, whole("[2, ∞)"));
export const readPrCurve = signature(name("addPrCurve"), {
  tag: filled,
  labels: numbersKind,
  predictions: numbersKind,
  globalStep: STEP,
  numThresholds: THRESHOLDS,
  weights: byDefault(null, orNull(numbersKind)),
  walltime: WALLTIME,
} satisfies OptionNames<AddPrCurveArguments>);
export type AddPrCurveCall = Call<
  AddPrCurveArguments,
  ["tag", "labels", "predictions", "globalStep", "numThresholds", "weights", "walltime"],
  [
    tag: string,
    labels: Numbers,
    predictions: Numbers,
    globalStep?: number | null,
    numThresholds?: number,
    weights?: Numbers | null,
    walltime?: number | null,
  ]
>;

export interface AddPrCurveRawArguments extends Thresholds {
  readonly truePositiveCounts: Numbers;
  readonly falsePositiveCounts: Numbers;
  readonly trueNegativeCounts: Numbers;
  readonly falseNegativeCounts: Numbers;
  readonly precision: Numbers;
  readonly recall: Numbers;
}
export const readPrCurveRaw = signature(
  name("addPrCurveRaw"),
  {
    tag: filled,
    truePositiveCounts: numbersKind,
    falsePositiveCounts: numbersKind,
    trueNegativeCounts: numbersKind,
    falseNegativeCounts: numbersKind,
    precision: numbersKind,
    recall: numbersKind,
    globalStep: STEP,
    numThresholds: THRESHOLDS,
    walltime: WALLTIME,
  } satisfies OptionNames<AddPrCurveRawArguments>,
  9,
);
export type AddPrCurveRawCall = Call<
  AddPrCurveRawArguments,
  [
    "tag",
    "truePositiveCounts",
    "falsePositiveCounts",
    "trueNegativeCounts",
    "falseNegativeCounts",
    "precision",
    "recall",
    "globalStep",
    "numThresholds",
  ],
  [
    tag: string,
    truePositiveCounts: Numbers,
    falsePositiveCounts: Numbers,
    trueNegativeCounts: Numbers,
    falseNegativeCounts: Numbers,
    precision: Numbers,
    recall: Numbers,
    globalStep?: number | null,
    numThresholds?: number,
  ]
>;

export interface CustomChartArguments {
  readonly tags: readonly string[];
  /** Default "default". */
  readonly category?: string;
  /** Default "untitled". */
  readonly title?: string;
}
const chart = (method: string, tags?: number) =>
  signature(name(method), {
    tags: listOf(text, tags),
    category: byDefault("default", filled),
    title: byDefault("untitled", filled),
  } satisfies OptionNames<CustomChartArguments>);
export const readMultilinechart = chart("addCustomScalarsMultilinechart");
export const readMarginchart = chart("addCustomScalarsMarginchart", 3);
export type CustomChartCall = Call<
  CustomChartArguments,
  ["tags", "category", "title"],
  [tags: readonly string[], category?: string, title?: string]
>;
export const LAYOUT = such<CustomLayout>("charts by category and title", (v) => record.accepts(v));

export interface AddMeshArguments extends At {
  readonly tag: string;
  /** `[B, N, 3]`: coordinates. */
  readonly vertices: Tensor;
  /** `[B, N, 3]`: 0 … 255. Default null: none. */
  readonly colors?: Tensor | null;
  /** `[B, M, 3]`: the vertices of each triangle. Default null: points alone. */
  readonly faces?: Tensor | null;
  /** For Three.js: camera, lights, material. Default null. */
  readonly configDict?: object | null;
}
export const readMesh = signature(name("addMesh"), {
  tag: filled,
  vertices: tensorKind,
  colors: byDefault(null, orNull(tensorKind)),
  faces: byDefault(null, orNull(tensorKind)),
  configDict: byDefault(null, orNull(record)),
  ...AT,
} satisfies OptionNames<AddMeshArguments>);
export type AddMeshCall = Call<
  AddMeshArguments,
  ["tag", "vertices", "colors", "faces", "configDict", ...AtNames],
  [
    tag: string,
    vertices: Tensor,
    colors?: Tensor | null,
    faces?: Tensor | null,
    configDict?: object | null,
    ...rest: AtPositions,
  ]
>;

export interface AddHparamsArguments {
  readonly hparamDict: Readonly<Record<string, HparamValue>>;
  /** Also logged as scalars, under their names. */
  readonly metricDict: Readonly<Record<string, Scalar>>;
  /** All values that a hyper-parameter may have, by name. */
  readonly hparamDomainDiscrete?: Readonly<Record<string, readonly (number | string | boolean)[]>> | null;
  /** Folder within the writer's. Default: the time. */
  readonly runName?: string | null;
  readonly globalStep?: number | null;
}
const plainRecord = <T>(words: string) => such<Readonly<Record<string, T>>>(words, (v) => record.accepts(v));
export const readHparams = signature(name("addHparams"), {
  hparamDict: plainRecord<HparamValue>("an object of values by name"),
  metricDict: such<Readonly<Record<string, Scalar>>>(
    "an object of numbers by name",
    (v) => record.accepts(v) && Object.values(v as object).every((x) => scalarKind.accepts(x)),
  ),
  hparamDomainDiscrete: byDefault(
    null,
    orNull(plainRecord<readonly (number | string | boolean)[]>("an object of arrays by name")),
  ),
  runName: byDefault(null, orNull(filled)),
  globalStep: STEP,
} satisfies OptionNames<AddHparamsArguments>);
export type AddHparamsCall = Call<
  AddHparamsArguments,
  ["hparamDict", "metricDict", "hparamDomainDiscrete", "runName", "globalStep"],
  [
    hparamDict: Readonly<Record<string, HparamValue>>,
    metricDict: Readonly<Record<string, Scalar>>,
    hparamDomainDiscrete?: Readonly<Record<string, readonly (number | string | boolean)[]>> | null,
    runName?: string | null,
    globalStep?: number | null,
  ]
>;

export interface SummaryWriterArguments {
  /** Folder. Default: `runs/<date>_<host>` and `comment`. */
  readonly logDir?: string | null;
  /** Behind the default folder's name. Default "". */
  readonly comment?: string;
  /** Readers forget what an earlier run in this folder logged from this step on. Default null. */
  readonly purgeStep?: number | null;
  /** Events that may wait in memory. Default 10. */
  readonly maxQueue?: number;
  /** Seconds that they may wait. Default 120. */
  readonly flushSecs?: number;
  /** Behind the names of files. Default "". */
  readonly filenameSuffix?: string;
}
const fileName = such<string>("a part of a file's name", (v) => typeof v === "string" && !/[/\\\0]/.test(v));
export const readWriter = signature("SummaryWriter", {
  logDir: byDefault(null, orNull(text)),
  comment: byDefault("", fileName),
  purgeStep: STEP,
  maxQueue: byDefault(10, whole("[0, ∞)")),
  flushSecs: byDefault(120, real("[0, ∞)")),
  filenameSuffix: byDefault("", fileName),
} satisfies OptionNames<SummaryWriterArguments>);
export type SummaryWriterCall = Call<
  SummaryWriterArguments,
  ["logDir", "comment", "purgeStep", "maxQueue", "flushSecs", "filenameSuffix"],
  [
    logDir?: string | null,
    comment?: string,
    purgeStep?: number | null,
    maxQueue?: number,
    flushSecs?: number,
    filenameSuffix?: string,
  ]
>;
