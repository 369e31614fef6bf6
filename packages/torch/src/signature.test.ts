import assert from "node:assert/strict";
import { test } from "node:test";
import { ArgumentError } from "./errors.js";
import { byDefault, flag, whole } from "./kinds.js";
import type { OptionNames } from "./options.js";
import { signature, type Call } from "./signature.js";

interface WindowArguments {
  readonly size: number;
  readonly stride?: number;
  readonly ceil?: boolean;
  readonly device?: number;
}
const ROWS = {
  size: whole("[1, ∞)"),
  stride: byDefault((given: { readonly size: number }) => given.size, whole("[1, ∞)")),
  ceil: byDefault(false, flag),
  device: byDefault(0, whole("[0, ∞)")),
} satisfies OptionNames<WindowArguments>;
const read = signature("Window", ROWS, 3);
type WindowCall = Call<WindowArguments, ["size", "stride", "ceil"], [size: number, stride?: number, ceil?: boolean]>;
const window = (...given: WindowCall): readonly unknown[] => Object.values(read(given));

test("every first few arguments by position, the others by name", () => {
  const expected = [3, 2, true, 1];
  assert.deepEqual(window(3, 2, true, { device: 1 }), expected);
  assert.deepEqual(window(3, 2, { ceil: true, device: 1 }), expected);
  assert.deepEqual(window(3, { stride: 2, ceil: true, device: 1 }), expected);
  assert.deepEqual(window({ size: 3, stride: 2, ceil: true, device: 1 }), expected);
});

test("defaults may depend on what came before them", () => {
  assert.deepEqual(window(3), [3, 3, false, 0]);
  assert.deepEqual(window({ size: 4 }), [4, 4, false, 0]);
  assert.deepEqual(read([5, undefined, undefined, undefined]), { size: 5, stride: 5, ceil: false, device: 0 });
});

const REFUSED: readonly (readonly [RegExp, readonly unknown[]])[] = [
  [/^Window: expected size to be a whole number ≥ 1\. Received: undefined/, []],
  [/^Window: expected size to be a whole number ≥ 1\. Received: undefined/, [{ stride: 1 }]],
  [/^Window: expected stride to be a whole number ≥ 1\. Received: 0/, [3, 0]],
  [/^Window: expected stride to be a whole number ≥ 1\. Received: null/, [3, null]],
  [/^Window: expected the option stride\. Received: "strid"/, [3, { strid: 1 }]],
  [/^Window: expected size once\. Received: size by position and by name/, [3, { size: 3 }]],
  [/^Window: expected size, stride, ceil by position.* Received: 1 as argument 4/, [3, 1, true, 1]],
  [/^Window: expected size, stride, ceil by position.* Received: 1 as argument 4, before/, [3, 1, true, 1, {}]],
  [/^Window: expected size to be a whole number ≥ 1\. Received: an object with keys size/, [{ size: 3 }, 1]],
];
for (const [message, given] of REFUSED)
  test(`refused: Window(${JSON.stringify(given).slice(1, -1)})`, () => {
    assert.throws(
      () => read(given),
      (error) => error instanceof ArgumentError && message.test(error.message),
    );
  });

test("what subclasses share speaks in their names", () => {
  assert.throws(() => read([0], "Window2d"), /^ArgumentError: Window2d: /);
});

test("the compiler wants what must be given, and knows the names", () => {
  assert.throws(() => {
    // @ts-expect-error size is missing
    window({ stride: 2 });
  }, ArgumentError);
  assert.throws(() => {
    // @ts-expect-error no such name
    window(3, { strides: 2 });
  }, ArgumentError);
  assert.throws(() => {
    // @ts-expect-error given twice
    window(3, 2, { stride: 2 });
  }, ArgumentError);
});
