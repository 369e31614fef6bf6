import assert from "node:assert/strict";
import { test } from "node:test";
import { formatName, templateProblem } from "./names.js";

test("values are formatted as Python does, with or without their names", () => {
  const values = { epoch: 2, val_loss: 0.123456, "val/acc": 0.5 };
  assert.equal(formatName("{epoch}-{val_loss:.2f}", values, true), "epoch=2-val_loss=0.12");
  assert.equal(formatName("{epoch:03d}-{val_loss:.1e}", values, false), "002-1.2e-1");
  assert.equal(formatName("{val/acc}-{missing}-{toString}", values, true), "val_acc=0.5-missing=0-toString=0");
});

test("names of metrics become words that are no paths and no commands", () => {
  assert.equal(formatName("{../../x}", {}, true), ".._.._x=0");
  assert.equal(formatName("{a\\b}{c\u001b[2J}{d\u202ee}{f\0}{g\n}", {}, true), "a_b=0c_[2J=0d_e=0f_=0g_=0");
});

test("templates that leave the folder, or that no system takes, are refused", () => {
  for (const good of ["{epoch}-{step}", "model", "{epoch}/model", "a..b", "x {val_loss:.2f}", "größe-{n}", "{x:d}"])
    assert.equal(templateProblem(good, true), null, good);
  for (const bad of [
    "",
    "..",
    ".",
    "../x",
    "a/../x",
    "/x",
    "a//b",
    "a/",
    "x\\..\\y",
    "x\0y",
    "x\ny",
    "\u001b[31m",
    "x\u202ey",
    "\ud800",
    "con",
    "NUL.a",
    "a/aux",
    "x.",
    "x ",
    "{x:q}",
    "{x:999d}",
    "{x:.999f}",
    "y".repeat(201),
    `${"y".repeat(190)}/`.repeat(5) + "z",
    7,
    null,
  ])
    assert.notEqual(templateProblem(bad, true), null, JSON.stringify(bad));
  // The value alone may not be all that is left of a part.
  assert.equal(templateProblem("{..}", false), null);
  assert.equal(formatName("{..}", {}, false), "0");
});
