import assert from "node:assert/strict";
import { test } from "node:test";
import { Callback, isOverridden, LightningDataModule, LightningModule } from "../index.js";

class Model extends LightningModule {
  override trainingStep(): null {
    return null;
  }
  override configureOptimizers(): null {
    return null;
  }
}

test("isOverridden finds methods of subclasses at any depth, fields, and neither in the base", () => {
  class Deeper extends Model {}
  assert.equal(isOverridden("trainingStep", new Model()), true);
  assert.equal(isOverridden("trainingStep", new Deeper()), true);
  assert.equal(isOverridden("validationStep", new Deeper()), false);
  const model = new Deeper();
  model.validationStep = () => null;
  assert.equal(isOverridden("validationStep", model), true);
  class Quiet extends Callback {
    override onTrainStart = (): void => undefined;
  }
  assert.deepEqual([isOverridden("onTrainStart", new Quiet()), isOverridden("onTrainEnd", new Quiet())], [true, false]);
  class Data extends LightningDataModule {
    override setup(): void {}
  }
  assert.deepEqual([isOverridden("setup", new Data()), isOverridden("teardown", new Data())], [true, false]);
});

test("isOverridden of null is false; a parent says of which class otherwise", () => {
  assert.equal(isOverridden("setup", null), false);
  class A {
    a(): number {
      return 1;
    }
  }
  class B extends A {
    override a(): number {
      return 2;
    }
  }
  assert.deepEqual([isOverridden("a", new B(), A), isOverridden("a", new A(), A)], [true, false]);
  assert.equal(isOverridden("trainingStep", new Model(), Model), false);
});

test("isOverridden refuses what no class of ours is, and names that are no method", () => {
  const code = "ERR_OVERRIDDEN";
  assert.throws(() => isOverridden("a", new Date()), {
    code,
    message: /^isOverridden: expected an object of LightningModule/,
  });
  assert.throws(() => isOverridden("valStep", new Model()), {
    code,
    message: 'isOverridden: expected methodName to be a method of LightningModule. Received: "valStep".',
  });
});
