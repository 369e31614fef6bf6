import assert from "node:assert/strict";
import { test } from "node:test";
import { ArgumentError, deepcopy, noGrad, nn, ones, randn, tensor, zeros, type Tensor } from "../../index.js";

const { packPaddedSequence, padPackedSequence, packSequence, padSequence, PackedSequence, unpackSequence } =
  nn.utils.rnn;
const keys = (module: nn.Module): string => [...module.stateDict().keys()].join(" ");

test("keys and fields of parameters", () => {
  const lstm = new nn.LSTM(3, 4, { numLayers: 2, bidirectional: true, projSize: 2, bias: false });
  assert.equal(
    keys(lstm),
    ["l0", "l0_reverse", "l1", "l1_reverse"].map((l) => `weight_ih_${l} weight_hh_${l} weight_hr_${l}`).join(" "),
  );
  assert.deepEqual(lstm.weightIhL1Reverse?.shape, [16, 4]);
  assert.deepEqual(
    lstm.allWeights.map((layer) => layer.length),
    [3, 3, 3, 3],
  );
  assert.equal(lstm.allWeights[3]?.[2], lstm.weightHrL1Reverse);
  assert.equal(keys(new nn.GRUCell(3, 4)), "weight_ih weight_hh bias_ih bias_hh");
  assert.equal(keys(new nn.GRUCell(3, 4, false)), "weight_ih weight_hh");
});

test("printed as PyTorch's", () => {
  assert.equal(String(new nn.RNN(3, 4, 2, "relu", false)), "RNN(3, 4, num_layers=2, bias=False)");
  assert.equal(
    String(new nn.LSTM(3, 4, { projSize: 2, numLayers: 3, batchFirst: true, dropout: 0.5, bidirectional: true })),
    "LSTM(3, 4, proj_size=2, num_layers=3, batch_first=True, dropout=0.5, bidirectional=True)",
  );
  assert.equal(String(new nn.RNNCell(3, 4, false, "relu")), "RNNCell(3, 4, bias=False, nonlinearity=relu)");
});

test("a weight that takes another's place is used; tied layers count once", () => {
  const a = new nn.GRU(3, 3);
  const b = new nn.GRU(3, 3);
  b.weightHhL0 = a.weightHhL0 as nn.Parameter;
  const x = randn([2, 1, 3]);
  noGrad(() => (a.weightHhL0 as nn.Parameter).zero_());
  const other = b.clone();
  other.weightHhL0 = new nn.Parameter(zeros([9, 3]));
  assert.ok(b.forward(x)[0].equal(other.forward(x)[0]));
  assert.equal(new nn.ModuleList([a, b]).parameters().length, 7);
});

test("arguments by position and by name give one layer", () => {
  const x = randn([2, 5, 3]);
  const layer = new nn.LSTM(3, 4, 1, true, true);
  const named = new nn.LSTM({ inputSize: 3, hiddenSize: 4, batchFirst: true });
  named.loadStateDict(layer.stateDict());
  const h = randn([1, 2, 4]);
  const [output, [, c]] = layer.forward(x, [h, h]);
  const again = named.forward({ input: x, hx: [h, h] });
  assert.ok(output.equal(again[0]) && c.equal(again[1][1]));
  assert.ok(layer.call(x, [h, h])[0].equal(output));
  const cell = new nn.LSTMCell(3, 4);
  assert.ok(cell.forward(x.select(0, 0))[0].equal(cell.forward({ input: x.select(0, 0) })[0]));
});

test("packed sequences come out as they went in", () => {
  const gru = new nn.GRU(2, 3, { bidirectional: true });
  const sequences = [randn([2, 2]), randn([4, 2]), randn([1, 2])];
  const packed = packSequence(sequences, { enforceSorted: false });
  const [output, h] = gru.forward(packed);
  assert.ok(output instanceof PackedSequence && gru.call(packed)[0] instanceof PackedSequence);
  assert.deepEqual(
    [output.sortedIndices?.tolist(), h.shape],
    [
      [1, 0, 2],
      [2, 3, 3],
    ],
  );
  const whole = sequences.map((s) => gru.forward(s.unsqueeze(1)));
  unpackSequence(output).forEach((s, i) => assert.ok(s.allclose(whole[i]?.[0].squeeze(1) as Tensor)));
  whole.forEach(([, last], i) => assert.ok(h.select(1, i).allclose(last.squeeze(1))));
});

test("PackedSequence: parts, conversions, iteration", () => {
  const packed = packPaddedSequence(
    tensor([
      [1, 2, 0],
      [3, 0, 0],
      [4, 5, 6],
    ]),
    [2, 1, 3],
    true,
    false,
  );
  const [data, batchSizes, sorted, unsorted] = packed;
  assert.deepEqual(
    [data, batchSizes, sorted, unsorted].map((t) => t?.tolist()),
    [
      [4, 1, 3, 5, 2, 6],
      [3, 2, 1],
      [2, 0, 1],
      [1, 2, 0],
    ],
  );
  assert.equal(packed.float(), packed);
  assert.deepEqual([packed.double().data.dtype, packed.long().data.dtype, packed.isCuda], ["float64", "int64", false]);
  assert.deepEqual(padPackedSequence(packed, { batchFirst: true, totalLength: 4, paddingValue: 9 })[0].tolist(), [
    [1, 2, 9, 9],
    [3, 9, 9, 9],
    [4, 5, 6, 9],
  ]);
  assert.deepEqual(padSequence([ones([1]), ones([2])], { paddingSide: "left" }).tolist(), [
    [0, 1],
    [1, 1],
  ]);
  assert.deepEqual(deepcopy({ packed }).packed.batchSizes.tolist(), [3, 2, 1]);
});

const layer = new nn.LSTM(3, 4, { projSize: 2 });
const x = randn([5, 2, 3]);
const REFUSED: readonly (readonly [RegExp, () => unknown])[] = [
  [/^LSTM: expected projSize below hiddenSize \(4\)\. Received: 4/, () => new nn.LSTM(3, 4, { projSize: 4 })],
  [/^GRU: expected numLayers to be a whole number ≥ 1/, () => new nn.GRU(3, 4, 0)],
  [/^GRU: expected options among .* Received: "projSize"/, () => Reflect.construct(nn.GRU, [3, 4, { projSize: 2 }])],
  [/^RNN: expected nonlinearity to be one of tanh, relu/, () => Reflect.construct(nn.RNN, [3, 4, 1, "gelu"])],
  [/^RNN: expected dropout to be a number in \[0, 1\]/, () => new nn.RNN(3, 4, { dropout: 2 })],
  [/^LSTM: expected an input whose last dimension is inputSize \(3\)/, () => layer.forward(randn([5, 2, 4]))],
  [/^LSTM: expected an input of 2 or 3 dimensions, or a PackedSequence/, () => layer.forward(randn([3]))],
  [
    /^LSTM: expected an input of the weights' dtype \(float32\).*input\.to\("float32"\)/,
    () => layer.forward(x.double()),
  ],
  [
    /^LSTM\.forward: expected input to be a tensor, or a PackedSequence/,
    () => Reflect.apply(layer.forward.bind(layer), layer, [3]),
  ],
  [
    /^LSTM\.forward: expected hx to be \[h, c\], two tensors, or null/,
    () => Reflect.apply(layer.forward.bind(layer), layer, [x, x]),
  ],
  [/^LSTM: expected hx\[0\] of shape \[1, 2, 2\]/, () => layer.forward(x, [zeros([1, 2, 4]), zeros([1, 2, 4])])],
  [/^LSTM: expected hx\[1\] of shape \[1, 2, 4\]/, () => layer.forward(x, [zeros([1, 2, 2]), zeros([1, 2, 2])])],
  [/^LSTM: expected hx\[0\] of 2 dimensions/, () => layer.forward(randn([5, 3]), [zeros([1, 1, 2]), zeros([1, 1, 4])])],
  [/^GRUCell: expected an input of 1 or 2 dimensions/, () => new nn.GRUCell(3, 4).forward(x)],
  [/^GRUCell: expected hx of 1 or 2 dimensions/, () => new nn.GRUCell(3, 4).forward(x.select(0, 0), x)],
  [
    /^padPackedSequence: expected totalLength to be at least the longest length \(5\)/,
    () => padPackedSequence(packSequence([ones([5])]), { totalLength: 4 }),
  ],
  [/^padSequence: expected sequences to have at least one tensor/, () => padSequence([])],
  [/^padSequence: expected sequences\[1\] to be a tensor/, () => padSequence([x, 3 as unknown as Tensor])],
  [/^unpadSequence: expected 2 lengths/, () => nn.utils.rnn.unpadSequence(x, [1])],
  [
    /^packPaddedSequence: expected lengths to be a tensor, or an array of whole numbers/,
    () => packPaddedSequence(x, [1.5, 1]),
  ],
];
for (const [message, run] of REFUSED)
  test(`refused: ${message.source}`, () => {
    assert.throws(run, (error) => error instanceof ArgumentError && message.test(error.message));
  });

test("dropout with one layer is warned of", async () => {
  const warned = new Promise<Error>((resolve) => process.once("warning", resolve));
  new nn.GRU(2, 2, { dropout: 0.5 });
  assert.match((await warned).message, /GRU: dropout 0\.5 has no effect/);
});
