/** Event files are those that PyTorch's writer makes, message by message (fixtures/summaries.py). */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { arange, nn, relu, tensor, utils, zeros, type Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { all, decodePng, eventFiles, events, message, number, records, scalars, text } from "./event-reader.js";

const { SummaryWriter } = utils.tensorboard;
type SummaryWriter = utils.tensorboard.SummaryWriter;

interface Fixtures {
  readonly messages: Readonly<Record<string, string>>;
  readonly images: Readonly<Record<string, { height: number; width: number; channels: number; pixels: number[] }>>;
  readonly record: string;
  readonly projector: Readonly<Record<string, string>>;
  readonly sprite: { readonly size: readonly number[]; readonly pixels: readonly number[] };
}
const fixtures = JSON.parse(
  readFileSync(new URL("../../loggers/fixtures/summaries.json", import.meta.url), "utf8"),
) as Fixtures;

const root = temporaryFolder("summary-writer");
let next = 0;
const fresh = (): string => join(root, String(next++));

/** The summaries that a writer writes. */
function written(write: (writer: SummaryWriter) => void): Buffer[] {
  const folder = fresh();
  const writer = new SummaryWriter(folder);
  write(writer);
  writer.close();
  return events(folder).map(({ summary }) => summary as Buffer);
}

const few = [-2.5, -1, 0, 0, 0.5, 1, 3];
const many = Array.from({ length: 80 }, (_, i) => (((i * 37) % 101) - 50) / 8);
const points = arange(12, { dtype: "float32" }).reshape([1, 4, 3]);
const labels = [0, 1, 1, 0, 1, 0, 0, 1];
const predictions = [0.1, 0.9, 0.5, 0.45, 0.75, 0.6, 0, 1];
const byRule =
  (bins: utils.tensorboard.Bins) =>
  (w: SummaryWriter): void => {
    w.addHistogram("w", many, { bins });
  };

const SAME: Readonly<Record<string, (writer: SummaryWriter) => void>> = {
  scalar: (w) => {
    w.addScalar("loss", tensor(0.25), 3);
  },
  "scalar zero": (w) => {
    w.addScalar({ tag: "loss", scalarValue: 0 });
  },
  "scalar new": (w) => {
    w.addScalar("loss", 0.1, { newStyle: true });
  },
  "scalar double": (w) => {
    w.addScalar("loss", 0.1, null, null, true, true);
  },
  text: (w) => {
    w.addText("note", "größer **fett**");
  },
  histogram: (w) => {
    w.addHistogram("w", tensor(few));
  },
  "histogram max": (w) => {
    w.addHistogram("w", tensor(many), 1, "tensorflow", null, 100);
  },
  "histogram edges": (w) => {
    w.addHistogram("w", few, { bins: [-3, 0, 1, 5] });
  },
  "histogram 5": byRule(5),
  ...Object.fromEntries(
    (["auto", "doane", "fd", "rice", "scott", "sqrt", "sturges"] as const).map((rule) => [
      `histogram ${rule}`,
      byRule(rule),
    ]),
  ),
  "histogram raw": (w) => {
    w.addHistogramRaw("w", -1, 2, 6, 3, 9, [0, 1, 2], [1, 2, 3]);
  },
  curve: (w) => {
    w.addPrCurve("pr", tensor(labels), tensor(predictions, { dtype: "float64" }), null, 11);
  },
  "curve weights": (w) => {
    w.addPrCurve("pr", labels, predictions, { numThresholds: 5, weights: labels.map((_, i) => i / 4) });
  },
  "curve raw": (w) => {
    w.addPrCurveRaw("pr", [3, 1], [2, 0], [0, 2], [0, 2], [0.5, 1], [1, 0.25], null, 2);
  },
  layout: (w) => {
    w.addCustomScalars({ A: { lines: ["Multiline", ["x/1", "x/2"]] }, B: { band: ["Margin", ["y", "low", "high"]] } });
  },
  mesh: (w) => {
    w.addMesh("m", points, points.mul(10).int(), tensor([[[0, 1, 2]]], { dtype: "int64" }), { camera: { cls: "P" } });
  },
  "mesh points": (w) => {
    w.addMesh("m", points);
  },
  audio: (w) => {
    w.addAudio("s", tensor([[0, 0.5, -1, 0.25]]), null, 8000);
  },
};
for (const [name, write] of Object.entries(SAME))
  test(`as PyTorch writes it: ${name}`, () => {
    const [summary] = written(write);
    // JSON of nested configuration is the one thing that Python spaces otherwise.
    const expected = Buffer.from(fixtures.messages[name] as string, "hex");
    if (name === "mesh") assert.deepEqual(meshOf(summary as Buffer), meshOf(expected));
    else assert.equal(summary?.toString("hex"), expected.toString("hex"));
  });

/** Values of a mesh, but for the spaces of its configuration. */
function meshOf(summary: Buffer): unknown {
  return (all(summary, 1) as Buffer[]).map((value) => {
    const plugin = message(value, 9, 1, 2);
    return {
      tag: text(value, 1),
      tensor: message(value, 8).toString("hex"),
      config: JSON.parse(text(plugin, 5)) as unknown,
      rest: [2, 3, 6, 7].map((field) => all(plugin, field).map(String)),
    };
  });
}

test("hyper-parameters are a run of their own, with its metrics", () => {
  const folder = fresh();
  const writer = new SummaryWriter(folder);
  writer.addHparams(
    { bsize: 32, lr: 0.1, name: "adam", none: null },
    { acc: 1, loss: 2 },
    { name: ["adam", "sgd"] },
    "run",
    4,
  );
  writer.close();
  const all = events(join(folder, "run"));
  assert.deepEqual(
    all.slice(0, 3).map(({ summary }) => summary?.toString("hex")),
    ["experiment", "start", "end"].map((part) => fixtures.messages[`hparams ${part}`]),
  );
  assert.deepEqual(scalars(join(folder, "run")), [
    ["acc", 4, 1],
    ["loss", 4, 2],
  ]);
});

test("true and false stay what they are among hyper-parameters", () => {
  const folder = fresh();
  const writer = new SummaryWriter(folder);
  writer.addHparams({ nesterov: false, warm: true }, {}, null, "run");
  writer.close();
  const start = events(join(folder, "run"))[1]?.summary as Buffer;
  const entries = all(message(start, 1, 9, 1, 2, 3), 1) as Buffer[];
  assert.deepEqual(
    entries.map((entry) => [text(entry, 1), number(message(entry, 2), 4)]),
    [
      ["nesterov", 0],
      ["warm", 1],
    ],
  );
});

const ramp = arange(24, { dtype: "float32" }).reshape([3, 2, 4]).div(20);
const bytes = (shape: readonly number[]): Tensor =>
  arange(
    shape.reduce((a, b) => a * b, 1),
    { dtype: "int64" },
  )
    .reshape([...shape])
    .to("uint8");
const IMAGES: Readonly<Record<string, [Tensor, string]>> = {
  CHW: [ramp, "CHW"],
  HWC: [ramp.permute([1, 2, 0]), "HWC"],
  HW: [ramp.select(0, 0), "HW"],
  WH: [ramp.select(0, 0), "WH"],
  grey: [ramp.narrow(0, 0, 1), "CHW"],
  bytes: [ramp.mul(100).to("uint8"), "CHW"],
  opaque: [bytes([4, 2, 2]), "CHW"],
  grid: [bytes([10, 3, 2, 2]), "NCHW"],
  "grey grid": [bytes([9, 1, 2, 2]), "NCHW"],
};
for (const [name, [image, dataformats]] of Object.entries(IMAGES))
  test(`the pixels that PyTorch writes: ${name}`, () => {
    const [summary] = written((w) => {
      if (dataformats === "NCHW") w.addImages("i", image);
      else w.addImage("i", image, { dataformats });
    });
    const proto = message(summary as Buffer, 1, 4);
    const { width, height, channels, frames } = decodePng(message(proto, 4));
    assert.deepEqual({ width, height, channels, pixels: frames[0] }, fixtures.images[name]);
    assert.deepEqual([number(proto, 1), number(proto, 2), number(proto, 3)], [height, width, channels]);
  });

test("a video is a moving PNG of all frames, its batch side by side", () => {
  const video = bytes([2, 3, 3, 2, 2]);
  const [summary] = written((w) => {
    w.addVideo("v", video, 1, 10);
  });
  const { width, height, frames } = decodePng(message(summary as Buffer, 1, 4, 4));
  assert.deepEqual([width, height, frames.length], [4, 2, 3]);
  const [, first] = frames as [number[], number[]];
  // Frame 1, row 0: two pixels of the first video, then two of the second.
  const at = (n: number, c: number, y: number, x: number): number => Number(video.at(n, 1, c, y, x).item());
  assert.deepEqual(
    first.slice(0, 12),
    [0, 1].flatMap((n) => [0, 1].flatMap((x) => [0, 1, 2].map((c) => at(n, c, 0, x)))),
  );
});

test("figures are PNG files and tensors, one or several; an SVG says what to do", () => {
  const [one] = written((w) => {
    w.addImage("i", ramp);
  });
  const png = message(one as Buffer, 1, 4, 4);
  const [summary] = written((w) => {
    w.addFigure("f", [png, ramp], 2);
  });
  const values = all(summary as Buffer, 1) as Buffer[];
  assert.deepEqual(
    values.map((value) => message(value, 4).toString("hex")),
    [message(one as Buffer, 1, 4), message(one as Buffer, 1, 4)].map((proto) => proto.toString("hex")),
  );
  const writer = new SummaryWriter(fresh());
  assert.throws(() => writer.addFigure("f", "<svg></svg>" as never), /TensorBoard shows no SVG: make it a PNG/);
  assert.throws(() => writer.addFigure("f", Uint8Array.of(1, 2, 3)), /expected the bytes of a PNG file/);
  writer.close();
});

test("boxes are drawn in red", () => {
  const [summary] = written((w) => {
    w.addImageWithBoxes("b", zeros([3, 8, 8]), [1, 2, 6, 7]);
  });
  const { frames } = decodePng(message(summary as Buffer, 1, 4, 4));
  const red = Array.from({ length: 8 }, (_, y) =>
    Array.from({ length: 8 }, (_, x) => (frames[0]?.[(y * 8 + x) * 3] === 255 ? "#" : ".")).join(""),
  );
  assert.deepEqual(red, [
    "........",
    "........",
    ".######.",
    ".######.",
    ".##..##.",
    ".##..##.",
    ".######.",
    ".######.",
  ]);
});

test("the projector's files", () => {
  const folder = fresh();
  const writer = new SummaryWriter(folder);
  const mat = tensor([
    [1, 0.5],
    [-0.1, 2],
    [3, 1e-8],
  ]);
  writer.addEmbedding(mat, ["a", "b", "c"], null, 7, "x/y");
  const pictures = arange(36, { dtype: "float32" }).reshape([3, 3, 2, 2]).div(40);
  writer.addEmbedding(mat, {
    metadata: [
      ["a", 1],
      ["b", 2],
      ["c", 3],
    ],
    metadataHeader: ["name", "n"],
    labelImg: pictures,
  });
  writer.close();
  for (const [path, expected] of Object.entries(fixtures.projector)) {
    const content = readFileSync(join(folder, path), "utf8");
    if (path.endsWith("tensors.tsv")) assert.deepEqual(numbersOf(content), numbersOf(expected));
    else assert.equal(content, expected);
  }
  const { width, height, frames } = decodePng(readFileSync(join(folder, "00000/default/sprite.png")));
  assert.deepEqual({ size: [width, height], pixels: frames[0] }, fixtures.sprite);
});
const numbersOf = (table: string): number[][] =>
  table
    .trim()
    .split("\n")
    .map((line) => line.split("\t").map(Number));

test("a record has the length and the checksums that TensorBoard's writer gives it", () => {
  const folder = fresh();
  const writer = new SummaryWriter(folder);
  writer.addScalar("loss", 0.25, 3, 1.5);
  writer.close();
  const file = readFileSync(eventFiles(folder)[0] as string);
  const record = Buffer.from(fixtures.record, "hex");
  assert.equal(file.subarray(-record.length).toString("hex"), fixtures.record);
  assert.equal(records(file).length, 2);
});

class Net extends nn.Module {
  readonly layers = new nn.Sequential(new nn.Linear(3, 4), new nn.ReLU());
  readonly head = new nn.Linear(4, 2);
  forward(x: Tensor): Tensor {
    return relu(this.head.call(this.layers.call(x)));
  }
}

test("a graph has operators within modules, parameters, inputs and outputs, and leaves the model as it was", () => {
  const folder = fresh();
  const writer = new SummaryWriter(folder);
  const model = new Net().train();
  writer.addGraph(model, zeros([5, 3]));
  writer.close();
  const [graph, metadata] = events(folder).map(({ bytes }) => bytes) as [Buffer, Buffer];
  const nodes = (all(message(graph, 4), 1) as Buffer[]).map((node) => ({
    name: text(node, 1),
    op: text(node, 2),
    inputs: all(node, 3).map(String),
  }));
  const named = (name: string): (typeof nodes)[number] | undefined => nodes.find((node) => node.name === name);
  assert.equal(new Set(nodes.map(({ name }) => name)).size, nodes.length);
  assert.equal(named("Net/Sequential[layers]/Linear[0]/weight")?.op, "Parameter");
  assert.equal(named("input/1")?.op, "IO Node");
  assert.deepEqual(named("output/1")?.inputs, ["Net/relu"]);
  assert.deepEqual(named("Net/Sequential[layers]/ReLU[1]/relu")?.inputs.length, 1);
  const linear = nodes.filter(({ name }) => name.startsWith("Net/Linear[head]/") && !/(weight|bias)$/.test(name));
  assert.ok(linear.some(({ inputs }) => inputs.includes("Net/Linear[head]/weight")));
  const known = new Set(nodes.map(({ name }) => name));
  for (const { inputs } of nodes) for (const input of inputs) assert.ok(known.has(input.replace(/:\d+$/, "")), input);
  assert.equal(text(metadata, 8, 1), "step1");
  assert.equal(model.training, true);
  assert.equal(model.head.training, true);
});

test("scalars of one chart lie in folders of their own, with one time", () => {
  const folder = fresh();
  const writer = new SummaryWriter(folder);
  writer.addScalars("a/b", { x: 1, y: tensor(2) }, 5);
  writer.close();
  assert.deepEqual(scalars(join(folder, "a_b_x")), [["a/b", 5, 1]]);
  assert.deepEqual(scalars(join(folder, "a_b_y")), [["a/b", 5, 2]]);
  assert.equal(events(join(folder, "a_b_x"))[0]?.wallTime, events(join(folder, "a_b_y"))[0]?.wallTime);
});

test("tensors of every dtype are their bytes", () => {
  const cases = [
    tensor([1.5, -2]),
    tensor([1.5], { dtype: "float64" }),
    tensor([1.5, 2]).half(),
    tensor([1.5]).bfloat16(),
    tensor([-3, 4], { dtype: "int64" }),
    tensor([true, false]),
    tensor([[7, 8]], { dtype: "uint8" }),
  ];
  const types = [1, 2, 19, 14, 9, 10, 4];
  written((w) => {
    for (const each of cases) w.addTensor("t", each);
  }).forEach((summary, i) => {
    const proto = message(summary, 1, 8);
    assert.equal(number(proto, 1), types[i]);
    assert.deepEqual([...message(proto, 4)], [...new Uint8Array((cases[i] as Tensor).toBytes())]);
    assert.deepEqual(
      (all(message(proto, 2), 2) as Buffer[]).map((dim) => number(dim, 1)),
      (cases[i] as Tensor).shape,
    );
  });
});

test("events wait in memory for flush, but for no more than maxQueue", () => {
  const folder = fresh();
  const writer = new SummaryWriter(folder, { maxQueue: 2, filenameSuffix: ".mine" });
  const inFile = (): number => scalars(folder).length;
  writer.addScalar("a", 1, 1);
  writer.addScalar("a", 2, 2);
  assert.equal(inFile(), 0);
  writer.addScalar("a", 3, 3);
  assert.equal(inFile(), 3);
  writer.addScalar("a", 4, 4);
  writer.flush();
  assert.equal(inFile(), 4);
  assert.match(
    eventFiles(folder)[0] as string,
    new RegExp(`events\\.out\\.tfevents\\.\\d{10}\\.${hostname()}\\.${process.pid}\\.\\d+\\.mine$`),
  );
  writer.close();
  writer.close();
  writer.addScalar("a", 5, 5); // opens another file
  writer.close();
  assert.equal(eventFiles(folder).length, 2);
  assert.equal(inFile(), 5);
});

test("purgeStep says from which step on readers forget", () => {
  const folder = fresh();
  new SummaryWriter(folder, "", 12).close();
  const [version, start] = events(folder);
  assert.deepEqual([version?.step, text(version?.bytes as Buffer, 3)], [12, "brain.Event:2"]);
  assert.deepEqual([start?.step, number(message(start?.bytes as Buffer, 7), 1)], [12, 1]);
});

test("the folder is runs/ with date and host unless it is given", () => {
  const before = process.cwd();
  const folder = temporaryFolder("summary-writer-default");
  process.chdir(folder);
  try {
    const writer = new SummaryWriter({ comment: "_lr0.1" });
    assert.match(writer.getLogdir(), /^runs.[A-Z][a-z]{2}\d\d_\d\d-\d\d-\d\d_/);
    assert.ok(writer.logDir.endsWith(`${hostname()}_lr0.1`));
    writer.close();
  } finally {
    process.chdir(before);
  }
});

const WRONG: readonly (readonly [RegExp, (writer: SummaryWriter) => void])[] = [
  [/addScalar: expected tag to be a string that is not empty/, (w) => w.addScalar("", 1)],
  [/addScalar: expected scalarValue to be a number, or a tensor of one element/, (w) => w.addScalar("a", zeros([2]))],
  [
    /addScalar: expected the option globalStep\. Received: "global_step"/,
    (w) => w.addScalar("a", 1, { global_step: 1 } as never),
  ],
  [/addScalar: expected globalStep to be a whole number, or null/, (w) => w.addScalar("a", 1, 1.5)],
  [/addHistogram: expected values that are not empty/, (w) => w.addHistogram("a", [])],
  [/addHistogram: expected bins to be "tensorflow", "auto"/, (w) => w.addHistogram("a", [1], 0, "stone" as never)],
  [/addHistogram: expected a value within the bins/, (w) => w.addHistogram("a", [NaN])],
  [/addHistogram: expected bins to be edges that do not fall/, (w) => w.addHistogram("a", [1], { bins: [2, 1] })],
  [/addHistogramRaw: expected as many bucketCounts/, (w) => w.addHistogramRaw("a", 0, 1, 1, 1, 1, [1], [1, 2])],
  [/addImage: expected an image of 3 dimensions/, (w) => w.addImage("a", zeros([2, 2]))],
  [/addImage: expected dataformats to be letters/, (w) => w.addImage("a", zeros([2, 2]), { dataformats: "HH" })],
  [/addImage: expected an image of 1 to 4 channels/, (w) => w.addImage("a", zeros([5, 2, 2]))],
  [/addImages: expected images of one or three channels/, (w) => w.addImages("a", zeros([1, 4, 2, 2]))],
  [/addVideo: expected vidTensor to be \[N, T, C, H, W\]/, (w) => w.addVideo("a", zeros([2, 2]))],
  [/addAudio: expected sndTensor of one dimension/, (w) => w.addAudio("a", zeros([2, 2]))],
  [/addPrCurve: expected predictions in \[0, 1\]/, (w) => w.addPrCurve("a", [1], [1.5])],
  [/addPrCurve: expected as many predictions and weights/, (w) => w.addPrCurve("a", [1, 0], [1])],
  [/addCustomScalarsMarginchart: expected tags to be an array of 3/, (w) => w.addCustomScalarsMarginchart(["a"])],
  [/addCustomScalars: expected chart c to be/, (w) => w.addCustomScalars({ a: { c: ["Pie", []] as never } })],
  [/addMesh: expected vertex to be \[B, N, 3\]/, (w) => w.addMesh("a", zeros([2, 3]))],
  [/addEmbedding: expected metadata of 2 labels/, (w) => w.addEmbedding(zeros([2, 3]), ["a"])],
  [/addHparams: expected hparamDict\.a to be a number/, (w) => w.addHparams({ a: [1] as never }, {})],
  [/addHparams: expected hparamDomainDiscrete\.a/, (w) => w.addHparams({ a: 1 }, {}, { a: ["x"] })],
  [/addGraph: expected model to be a module/, (w) => w.addGraph({} as never)],
  [/addTensor: expected a tensor of float32/, (w) => w.addTensor("a", zeros([1], { dtype: "complex128" }))],
];
for (const [expected, call] of WRONG)
  test(`refused: ${expected.source.replaceAll("\\", "")}`, () => {
    const folder = fresh();
    const writer = new SummaryWriter(folder);
    assert.throws(
      () => call(writer),
      (error: Error) => error.name === "ArgumentError" && expected.test(error.message),
    );
    writer.close();
    assert.equal(events(folder).length, 0);
  });
