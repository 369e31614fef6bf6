/** What the constructors of strategies take, and what a Trainer says of a strategy for another device. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { device, nn } from "@nbit/torch";
import { Trainer } from "../trainer.js";
import { DDPStrategy } from "./ddp.js";
import { FSDPStrategy } from "./fsdp.js";

const classes = [DDPStrategy, FSDPStrategy] as const;

test("a strategy takes options alone, and the device of the Trainer it is given to", () => {
  for (const Strategy of classes) {
    const strategy = new Strategy({ timeout: 1000 });
    assert.throws(() => strategy.rootDevice, { code: "ERR_STRATEGY_DEVICE" });
    const trainer = new Trainer({ accelerator: "cpu", strategy, logger: false });
    assert.equal(trainer.rootDevice.type, "cpu");
    assert.equal(new Trainer({ accelerator: "cpu", strategy, logger: false }).strategy, strategy);
    new Strategy();
  }
});

test("a device before the options is the only one that it works on", () => {
  for (const Strategy of classes) {
    for (const where of ["cpu", device("cpu")])
      assert.equal(new Strategy(where, { timeout: 5 }).rootDevice.type, "cpu");
    assert.throws(() => new Trainer({ accelerator: "cpu", strategy: new Strategy("cuda:1"), logger: false }), {
      code: "ERR_STRATEGY_DEVICE",
      message: /expected a strategy for "cpu", the device of this process\. Received: \w+ for "cuda:1"/,
    });
  }
});

test("an argument of another kind is an error that names it", () => {
  for (const [options, says] of [
    [{ timeout: -1 }, /timeout/],
    [{ heartbeatTimeout: "fast" }, /heartbeatTimeout/],
    [{ processGroupBackend: "mpi" }, /processGroupBackend/],
    [{ stateDictType: "half" }, /stateDictType/],
    [{ buckets: 3 }, /buckets/],
    [{ rank: 3 }, /rank/],
    [3, /options/],
    [[], /options/],
    [null, /options/],
    [() => 1, /options/],
  ] as const)
    for (const Strategy of classes) {
      const make = (): unknown => Reflect.construct(Strategy, [options]);
      assert.throws(make, { code: "ERR_STRATEGY_OPTION", message: says }, JSON.stringify(options));
      assert.throws(() => Reflect.construct(Strategy, ["cpu", options]) as unknown, { code: "ERR_STRATEGY_OPTION" });
    }
  for (const options of [
    { paramDtype: "int8" },
    { reduceDtype: "float" },
    { shardModules: 3 },
    { shardModules: [] },
    { shardModules: ["Block"] },
    { stage: "3" },
    { blockSize: 0 },
  ])
    assert.throws(() => Reflect.construct(FSDPStrategy, [options]) as unknown, { code: "ERR_STRATEGY_OPTION" });
  new FSDPStrategy({ shardModules: [nn.Linear], paramDtype: "bfloat16" });
  for (const Strategy of classes) assert.throws(() => Reflect.construct(Strategy, ["cpu", {}, {}]) as unknown);
});

test("devices are each named once", () => {
  for (const devices of [[0, 0], "0,0"])
    assert.throws(() => new Trainer({ accelerator: "cpu", devices }), { code: "ERR_DEVICES", message: /once each/ });
});
