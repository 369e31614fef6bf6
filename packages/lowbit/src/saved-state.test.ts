/** Saved states of every family and format: going on from one is going through, and 8 and 32 bits become each other. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  full,
  isTensor,
  nn,
  packState,
  randn,
  scope,
  seedEverything,
  unpackState,
  zeros,
  type optim,
  type Tensor,
} from "@nbit/torch";
import { dequantizeBlockwise, FAMILIES, LowBitOptimizer, type FormatName, type LowBitOptions } from "./index.js";

type FamilyName = keyof typeof FAMILIES;
const FAMILY_NAMES = Object.keys(FAMILIES) as FamilyName[];
const OPTIONS: LowBitOptions = { weightDecay: 0.1, min8bitSize: 2000 };

interface Run {
  readonly params: Tensor[];
  readonly optimizer: LowBitOptimizer;
}
/** One parameter with codes, whose last block is ragged, and one that is small. */
function start(family: FamilyName, format: FormatName | null, from?: readonly Tensor[], options = OPTIONS): Run {
  seedEverything(3);
  const params = [[43, 67], [33]].map((shape, i) => new nn.Parameter(from?.[i]?.detach().clone() ?? randn(shape)));
  return { params, optimizer: new LowBitOptimizer(params, family, format, options) };
}
function steps({ params, optimizer }: Run, from: number, to: number): void {
  for (let i = from; i < to; i++)
    scope(() => {
      seedEverything(100 + i);
      for (const p of params) p.grad = randn([...p.shape]).mul(0.1);
      optimizer.step();
    });
}
const throughBytes = (optimizer: LowBitOptimizer): Record<string, unknown> =>
  unpackState(packState({ ...optimizer.stateDict() })) as Record<string, unknown>;
const stateOf = ({ optimizer, params }: Run, i = 0): optim.ParameterState =>
  optimizer.state.get(params[i] as Tensor) ?? {};

for (const family of FAMILY_NAMES)
  test(`${family}: a run resumed from saved bytes equals the uninterrupted one, bit for bit, in every format`, () => {
    for (const format of ["dynamic8", "linear8", "moments4", "float8", null] as const)
      scope(() => {
        const through = start(family, format);
        steps(through, 0, 5);
        const first = start(family, format);
        steps(first, 0, 3);
        const second = start(family, format, first.params);
        second.optimizer.loadStateDict(throughBytes(first.optimizer));
        steps(second, 3, 5);
        through.params.forEach((p, i) => {
          assert.ok(
            p.equal(second.params[i] as Tensor) && !p.equal(first.params[i] as Tensor),
            `${String(format)}: parameter ${i}`,
          );
          for (const [name, value] of Object.entries(stateOf(through, i))) {
            const other = stateOf(second, i)[name];
            if (isTensor(value))
              assert.ok(
                isTensor(other) && value.dtype === other.dtype && value.float().equal(other.float()),
                `${String(format)}: ${name}`,
              );
            else assert.equal(other, value, name);
          }
        });
        const { version, blockSize } = stateOf(second);
        assert.deepEqual(
          [version, blockSize],
          format === null ? [undefined, undefined] : [1, format === "moments4" ? 128 : 256],
        );
      });
  });

/**
 * Half of the widest gap between neighbours of the dynamic map: no state in 8 bits is farther off, in largest values of
 * its block.
 */
const HALF_GAP = 0.9 / 64 / 2;

for (const family of FAMILY_NAMES)
  test(`${family}: 8-bit state loads into 32 bits as its dequantized values, and back near them; other block sizes and formats are converted`, () => {
    scope(() => {
      const low = start(family, "dynamic8");
      steps(low, 0, 3);
      const load = (format: FormatName | null, from: Run, options = OPTIONS): Run => {
        const run = start(family, format, low.params, options);
        run.optimizer.loadStateDict(throughBytes(from.optimizer));
        return run;
      };
      const wide = load(null, low);
      const back = load("dynamic8", wide);
      const blocks = load("dynamic8", low, { ...OPTIONS, blockSize: 64 });
      const few = load("moments4", low);
      const again = load(null, back);
      FAMILIES[family].states.forEach((signed, i) => {
        const [name, absmax] = [`state${i + 1}`, `absmax${i + 1}`];
        const value = stateOf(wide)[name] as Tensor;
        assert.equal(value.dtype, "float32");
        assert.ok(
          value.equal(
            dequantizeBlockwise(
              {
                codes: stateOf(low)[name] as Tensor,
                absmax: stateOf(low)[absmax] as Tensor,
                shape: [43, 67],
                blockSize: 256,
              },
              { signed },
            ),
          ),
          `${name}: what the codes stand for`,
        );
        // Back to the same codes where the largest of a block is positive: the signed map has 1 and no -1.
        if (!signed) assert.ok((stateOf(back)[name] as Tensor).equal(stateOf(low)[name] as Tensor), `${name}: codes`);
        assert.ok(
          (stateOf(again)[name] as Tensor).sub(value).abs().max().item() <= 1.01 * HALF_GAP * value.abs().max().item(),
          name,
        );
        assert.ok((stateOf(wide, 1)[name] as Tensor).equal(stateOf(low, 1)[name] as Tensor), "the small one");
        assert.deepEqual(
          [stateOf(blocks)[absmax], stateOf(few)[absmax]].map((t) => (t as Tensor).numel()),
          [Math.ceil((43 * 67) / 64), Math.ceil((43 * 67) / 128)],
        );
        assert.equal((stateOf(few)[name] as Tensor).numel(), Math.ceil((43 * 67) / 2));
      });
      // All go on alike.
      const before = (low.params[0] as Tensor).detach().clone();
      const runs = [low, wide, back, blocks, few];
      for (const run of runs) steps(run, 3, 4);
      const moved = (low.params[0] as Tensor).sub(before).abs().mean().item();
      const limits = [1e-6, 1e-6, 0.02, 0.03, 0.3];
      runs.forEach((run, i) => {
        const apart =
          (run.params[0] as Tensor)
            .sub(low.params[0] as Tensor)
            .abs()
            .mean()
            .item() / moved;
        assert.ok(apart <= (limits[i] as number), `${run.optimizer.stateFormat}: ${apart} of a step apart`);
      });
    });
  });

test("a state that does not fit, or that a later version wrote, is refused by name", () => {
  const run = start("adam", "dynamic8");
  steps(run, 0, 1);
  const changed = (change: (state: Record<string, unknown>) => void): Record<string, unknown> => {
    const dict = throughBytes(run.optimizer) as { state: Record<string, Record<string, unknown>> };
    change(dict.state["0"] as Record<string, unknown>);
    return dict;
  };
  const refused = (change: (state: Record<string, unknown>) => void, message: RegExp): void =>
    assert.throws(() => start("adam", "dynamic8").optimizer.loadStateDict(changed(change)), {
      code: "OPTIMIZER_STATE",
      message,
    });
  const { optimizer } = run;
  const before = JSON.stringify(optimizer.stateDict());
  const n = 2881;
  const cases: readonly (readonly [(s: Record<string, unknown>) => unknown, RegExp])[] = [
    [(s) => (s["version"] = 2), /expected state of version 1 or older\. Received: 2\. It was saved by a later nbit/],
    [(s) => (s["version"] = "1"), /version/],
    [(s) => (s["version"] = NaN), /version/],
    [(s) => delete s["state2"], /expected state2 of parameter 0, .* Received: keys /],
    [(s) => (s["state3"] = s["state1"]), /expected 2 states of parameter 0/],
    [(s) => delete s["step"], /step of parameter 0 to be a whole number ≥ 0\. Received: undefined/],
    ...[NaN, -1, 0.5, "1", Infinity, randn([2])].map(
      (step) => [(s: Record<string, unknown>) => (s["step"] = step), /step of parameter 0/] as const,
    ),
    [
      (s) => (s["blockSize"] = 128),
      /one value per block of 128 of parameter 0, which has shape \[.*\]\. Received: float32 of shape \[12\]/,
    ],
    ...[0, -1, 255.5, NaN, "256", Infinity].map(
      (size) => [(s: Record<string, unknown>) => (s["blockSize"] = size), /one value per block/] as const,
    ),
    [(s) => (s["state1"] = randn([7])), /state1 in uint8/],
    [(s) => (s["state1"] = zeros([7], { dtype: "uint8" })), /state1 with one code each/],
    [(s) => (s["state1"] = 3), /state1 .*to be a tensor/],
    [(s) => (s["state1"] = zeros([n], { dtype: "int32" })), /state1 in uint8/],
    [(s) => (s["state1"] = zeros([n, 1, 1], { dtype: "uint8" })), /one code each/],
    [(s) => (s["state1"] = randn([n]).toSparse()), /dense/],
    [(s) => (s["absmax2"] = zeros([3])), /absmax2 with one value per block/],
    [(s) => (s["absmax2"] = zeros([12], { dtype: "int32" })), /absmax2 of finite numbers/],
    [(s) => (s["absmax2"] = full([12], NaN)), /absmax2 of finite numbers/],
    [(s) => (s["absmax2"] = full([12], -1)), /absmax2 of finite numbers/],
    [(s) => (s["absmax2"] = "x"), /absmax2 .*to be a tensor/],
    [(s) => (s["qmap1"] = zeros([100])), /qmap1 of 16 or 256/],
    [(s) => (s["qmap1"] = full([256], NaN)), /qmap1 of 16 or 256 finite/],
    [(s) => delete s["qmap1"], /state1 in float8_e4m3fn, as there is no qmap/],
    [(s) => [delete s["absmax1"], delete s["qmap1"]], /state1 in floating point/],
  ];
  for (const [change, message] of cases) {
    refused(change, message);
    // What holds a state keeps it.
    const dict = changed(change);
    (dict["paramGroups"] as Record<string, unknown>[]).forEach((g) => (g["lr"] = 7));
    assert.throws(() => optimizer.loadStateDict(dict), { code: "OPTIMIZER_STATE" });
    assert.equal(JSON.stringify(optimizer.stateDict()), before);
  }
});

test("squares below zero are refused in every form, before anything is changed; values that are not finite load with a warning", async () => {
  for (const family of FAMILY_NAMES) {
    const signs = FAMILIES[family].states;
    for (const format of ["dynamic8", "float8", null] as const) {
      const run = start(family, format);
      steps(run, 0, 2);
      const given = (change: (s: Record<string, unknown>) => void): Record<string, unknown> => {
        const dict = throughBytes(run.optimizer) as { state: Record<string, Record<string, unknown>> };
        for (const s of Object.values(dict.state)) change(s);
        return dict;
      };
      const before = JSON.stringify(run.optimizer.stateDict());
      for (const [i, signed] of signs.entries()) {
        const name = `state${i + 1}`;
        // In 32 bits, which every optimizer reads: one element of the second parameter below zero.
        const wide = given((s) => {
          const value = s[name] as Tensor;
          const sized = full([...value.shape], 1);
          if (value.numel() === 33) sized.setAt([7], -1);
          for (const key of [`absmax${i + 1}`, `qmap${i + 1}`]) Reflect.deleteProperty(s, key);
          s[name] = sized;
        });
        if (signed) new LowBitOptimizer(run.params, family, format, OPTIONS).loadStateDict(wide);
        else
          assert.throws(
            () => run.optimizer.loadStateDict(wide),
            {
              code: "OPTIMIZER_STATE",
              message: new RegExp(`${name} of parameter 1 to be an average of squares, nowhere below zero`),
            },
            `${family} ${String(format)} ${name}`,
          );
        // Codes whose map has negative values.
        const qmap = stateOf(run)[`qmap${i + 1}`];
        if (signed || !isTensor(qmap)) continue;
        assert.throws(
          () =>
            run.optimizer.loadStateDict(
              given((s) => isTensor(s[`qmap${i + 1}`]) && (s[`qmap${i + 1}`] = qmap.sub(0.5))),
            ),
          { code: "OPTIMIZER_STATE", message: /nowhere below zero/ },
        );
      }
      assert.equal(JSON.stringify(run.optimizer.stateDict()), before);
    }
  }
  const heard: string[] = [];
  process.once("warning", (w: Error & { code?: string }) => heard.push(`${w.code} ${w.message}`));
  const run = start("adam", null);
  steps(run, 0, 1);
  const dict = throughBytes(run.optimizer) as { state: Record<string, Record<string, unknown>> };
  (dict.state["1"] as Record<string, unknown>)["state1"] = full([33], NaN);
  run.optimizer.loadStateDict(dict);
  await new Promise((done) => setImmediate(done));
  assert.match(
    heard.join(),
    /^WARN_OPTIMIZER_STATE LowBitOptimizer\.loadStateDict: NaN or infinity in state1 of parameter 1\. /,
  );
});
