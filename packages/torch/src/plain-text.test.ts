import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { plainText, quoted } from "./plain-text.js";

test("control characters of a terminal are escaped", () => {
  assert.equal(plainText("loss\u001b[31m\u009b2J\u0007"), "loss\\u001b[31m\\u009b2J\\u0007");
  assert.equal(plainText("a\r\n\tb\0"), "a\\r\\n\\tb\\u0000");
  assert.equal(plainText("a\nb\u001b", "\n"), "a\nb\\u001b");
  assert.equal(
    plainText("\u202etxt.exe\u2066\u2028\ufeff\ud800\u{e0041}"),
    "\\u202etxt.exe\\u2066\\u2028\\ufeff\\ud800\\udb40\\udc41",
  );
  assert.equal(quoted('a"\u202e\u007f'), '"a\\"\\u202e\\u007f"');
});

test("text of any language and emoji stay", () => {
  for (const text of ["größe", "损失", "потеря", "ऋ‍ष", "שלום", "👩‍🔬", "val/loss_2 (b)", ""])
    assert.equal(plainText(text), text);
});

test("any text is escaped without invisible characters and without errors", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      // eslint-disable-next-line no-control-regex -- control characters are what must not be there
      assert.doesNotMatch(plainText(text), /[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\u2028\u2029]/);
      assert.equal(plainText(plainText(text)), plainText(text));
    }),
    { numRuns: 300, seed: 3 },
  );
  for (const value of [null, undefined, 3, 7n, Symbol("x"), Object.create(null), { toString: () => 1 }, []])
    assert.equal(typeof plainText(value), "string");
});
