/**
 * Spellings that belong to a plugin from elsewhere: what the Trainer does with and without it. A process of its own,
 * since it changes the registry.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  FullPrecision,
  HalfPrecision,
  MisconfigurationError,
  registerAmpBackend,
  registerPrecision,
  Trainer,
} from "../index.js";
import type { PrecisionName, PrecisionRequest } from "../index.js";

const NAMES = ["float8", "float8-float16"] as const;

test("a precision that is registered gets the canonical name, the device and the level", () => {
  const requests: PrecisionRequest[] = [];
  class Mine extends HalfPrecision {}
  for (const name of NAMES) {
    registerPrecision(name, (request) => {
      requests.push(request);
      return new Mine("bf16-true");
    });
    assert.ok(new Trainer({ accelerator: "cpu", precision: name, logger: false }).precision instanceof Mine);
  }
  assert.deepEqual(
    requests,
    NAMES.map((name) => ({ name, deviceType: "cpu", ampLevel: null })),
  );
});

test("a registered AMP backend is listed in errors, and makes the precision", () => {
  registerAmpBackend("mine", ({ name, ampLevel }) => {
    assert.deepEqual([name, ampLevel], ["16-mixed", "O1"]);
    return new FullPrecision();
  });
  assert.equal(
    new Trainer({ accelerator: "cpu", precision: 16, ampBackend: "mine", ampLevel: "O1", logger: false }).precision
      .name,
    "32-true",
  );
  assert.throws(() => new Trainer({ accelerator: "cpu", ampBackend: "yours", logger: false }), {
    code: "ERR_AMP_BACKEND",
    message: 'Trainer: expected ampBackend to be one of "native", "apex", "mine". Received: "yours".',
  });
});

test("a precision that an accelerator maps to and that is not registered is an error that says how to register it", () => {
  const name = "unheard-of" as PrecisionName;
  const cpu = new Trainer({ accelerator: "cpu", logger: false }).accelerator;
  const accelerator = {
    name: "odd",
    missing: () => null,
    deviceCount: () => 1,
    device: () => cpu.device(0),
    support: () => cpu.support(0),
    mapPrecision: () => ({ name }),
  };
  assert.throws(
    () => new Trainer({ accelerator, logger: false }),
    (error) => {
      assert.ok(error instanceof MisconfigurationError);
      assert.equal(error.code, "ERR_PRECISION_UNAVAILABLE");
      assert.match(
        error.message,
        /^Trainer: expected a precision that is registered\. Received: "unheard-of"\. Add it with registerPrecision\(\{ name: "unheard-of", … \}\)\.$/,
      );
      return true;
    },
  );
});
