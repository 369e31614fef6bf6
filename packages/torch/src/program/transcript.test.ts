import assert from "node:assert/strict";
import { test } from "node:test";
import { crossEntropyLoss, manualSeed, nn, noGrad, optim, program, randint, randn, type Tensor } from "../index.js";

const { print, RecordedStep, Transcript } = program;

function training() {
  manualSeed(0);
  const net = new nn.Sequential(new nn.Linear(4, 8), new nn.Tanh(), new nn.Linear(8, 3));
  const optimizer = new optim.AdamW(net.parameters(), { fused: true });
  optimizer.keepRatesOn("cpu");
  const [x, y] = [randn(5, 4), randint(3, [5])];
  const step = (): { readonly loss: Tensor } => {
    optimizer.zeroGrad();
    const loss = crossEntropyLoss(net.call(x), y);
    loss.backward();
    optimizer.step();
    return { loss: loss.detach() };
  };
  return { net, x, y, step };
}

test("a transcript is the program that a recorded step is", () => {
  const [one, other] = [training(), training()];
  const transcript = new Transcript({ inputs: { x: one.x, y: one.y } });
  const recorded = new RecordedStep({ inputs: { x: other.x, y: other.y }, parameters: other.net.parameters() });
  one.step();
  other.step();
  const a = transcript.run(one.step).loss.item();
  const b = recorded.record(other.step).loss.item();
  assert.equal(a, b);
  assert.equal(transcript.refusal, null);
  assert.ok(transcript.program !== null);
  assert.equal(print(transcript.program), print(recorded.program));
  assert.deepEqual(Object.keys(transcript.program.inputs), ["x", "y"]);
  assert.deepEqual(Object.keys(transcript.program.results), ["loss"]);
  recorded.dispose();
});

test("only the first run is written down", () => {
  const { step } = training();
  const transcript = new Transcript();
  transcript.run(step);
  const first = transcript.program;
  transcript.run(() => noGrad(() => randn(2).add(1)));
  assert.equal(transcript.program, first);
});

test("what no program can say is named with its line, and the step runs on", () => {
  const { step } = training();
  const transcript = new Transcript();
  const loss = transcript.run(() => {
    const { loss: made } = step();
    return made.item();
  });
  assert.ok(Number.isFinite(loss));
  assert.equal(transcript.program, null);
  assert.match(transcript.refusal ?? "", /reads a number or a shape from values \(.*transcript\.test\.[jt]s:\d+:\d+\)/);
});

test("a step that throws leaves no recording behind", () => {
  const transcript = new Transcript();
  assert.throws(
    () =>
      transcript.run(() => {
        throw new RangeError("mine");
      }),
    RangeError,
  );
  assert.equal(transcript.program, null);
  const { step } = training();
  const next = new Transcript();
  next.run(step);
  assert.ok(next.program !== null);
});

test("what is no tensor, and a transcript within another, are errors", () => {
  assert.throws(() => new Transcript({ inputs: { x: 3 as never } }), { code: "ERR_ARGUMENT" });
  assert.throws(() => new Transcript({ input: {} } as never), { code: "ERR_ARGUMENT" });
  assert.throws(() => new Transcript().run(() => new Transcript().run(() => 1)), { code: "PROGRAM_NESTED" });
  assert.throws(() => new Transcript().run(3 as never), { code: "ERR_ARGUMENT" });
});
