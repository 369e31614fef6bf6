import assert from "node:assert/strict";
import { test } from "node:test";
import { ansiPaint, isInteractive, pad, paintFor, plainPaint, stripAnsi, truncate, visibleWidth } from "./ansi.js";
import { countOf, drawBar, layoutLine } from "./bar.js";
import { LiveDisplay, PlainDisplay } from "./display.js";
import { LiveLine } from "./live-line.js";
import { RateMeter } from "./rate.js";
import { formatTable } from "./table.js";
import { Log, Screen } from "./testing/screen.js";

test("width ignores colours; cutting keeps them closed", () => {
  const text = `${ansiPaint("red", "abcdef")} ghi`;
  assert.equal(visibleWidth(text), 10);
  const cut = truncate(text, 5);
  assert.equal(visibleWidth(cut), 5);
  assert.equal(stripAnsi(cut), "abcd…");
  assert.ok(cut.endsWith("\x1b[0m"));
  assert.equal(truncate("abc", 3), "abc");
  assert.equal(truncate("abc", 0), "");
  // Two columns each; a family of joined emoji is one sign, and a mark above a letter takes no place.
  assert.deepEqual(["日本", "👩‍👩‍👧", "e\u0301"].map(visibleWidth), [4, 2, 1]);
  assert.deepEqual(
    [6, 5, 4, 3].map((width) => truncate("日本語", width)),
    ["日本語", "日本…", "日…", "日…"],
  );
  assert.equal(pad("━", 3), "━  ");
  assert.equal(pad(ansiPaint("red", "7"), 3, "right"), `  ${ansiPaint("red", "7")}`);
});

test("colours follow the terminal, NO_COLOR and FORCE_COLOR", () => {
  const screen = new Screen();
  assert.equal(paintFor(screen, {}), ansiPaint);
  assert.equal(paintFor(screen, { NO_COLOR: "1" }), plainPaint);
  assert.equal(paintFor(new Log(), {}), plainPaint);
  assert.equal(paintFor(new Log(), { FORCE_COLOR: "1" }), ansiPaint);
  assert.equal(paintFor(screen, { FORCE_COLOR: "0" }), plainPaint);
  assert.equal(isInteractive(screen, { TERM: "dumb" }), false);
  assert.equal(isInteractive(screen, { CI: "true" }), false);
  assert.equal(isInteractive(new Log(), {}), false);
});

test("a bar is as wide as asked at every fraction", () => {
  for (let i = 0; i <= 100; i++) assert.equal(visibleWidth(drawBar(i / 100, 17, plainPaint)), 17);
  assert.equal(drawBar(0, 4, plainPaint), "────");
  assert.equal(drawBar(0.5, 4, plainPaint), "━━──");
  assert.equal(drawBar(0.625, 4, plainPaint), "━━╸─");
  assert.equal(drawBar(7, 4, plainPaint), "━━━━");
});

test("a line always fits: segments of low rank go first, the head stays", () => {
  const segments = [
    { text: "12/469", rank: 6 },
    { text: "38.2 it/s", rank: 2 },
    { text: "eta 0:12", rank: 4 },
    { text: "loss 0.4123", rank: 3 },
  ];
  for (let columns = 1; columns < 120; columns++) {
    assert.ok(visibleWidth(layoutLine("Epoch 1/2", 0.3, segments, columns, plainPaint)) <= columns);
  }
  const narrow = layoutLine("Epoch 1/2", 0.3, segments, 52, plainPaint);
  assert.match(narrow, /Epoch 1\/2.*12\/469.*eta 0:12/);
  assert.doesNotMatch(narrow, /it\/s/);
  assert.match(layoutLine("Epoch 1/2", 0.3, segments, 119, plainPaint), /━━.*38\.2 it\/s.*loss 0\.4123/);
  assert.equal(countOf(7, 469), "  7/469");
  assert.equal(countOf(7, Infinity), "7");
});

test("a live line is one write a redraw, and other output lands above it", () => {
  const screen = new Screen();
  const line = new LiveLine(screen);
  line.draw("10 %");
  const before = screen.writes;
  line.draw("20 %");
  line.draw("20 %");
  assert.equal(screen.writes, before + 1);
  screen.write("a warning\n");
  line.draw("30 %");
  assert.deepEqual(screen.lines, ["a warning", "30 %"]);
  screen.write("no newline");
  line.draw("40 %");
  assert.deepEqual(screen.lines, ["a warning", "no newline", "40 %"]);
  line.print("epoch done");
  line.draw("next");
  line.close();
  line.close();
  assert.deepEqual(screen.lines, ["a warning", "no newline", "epoch done", ""]);
});

test("a closed live line gives the stream back, also beneath another wrapper", () => {
  const screen = new Screen();
  const original = screen.write;
  const line = new LiveLine(screen);
  assert.notEqual(screen.write, original);
  line.close();
  assert.equal(screen.write, original);

  const second = new LiveLine(screen);
  const ours = screen.write;
  const wrapper = (text: string): boolean => Reflect.apply(ours, screen, [text]);
  screen.write = wrapper;
  second.draw("10 %");
  second.close();
  assert.equal(screen.write, wrapper);
  screen.write("after\n");
  assert.deepEqual(screen.lines, ["after", ""]);
});

test("a live display redraws at its interval", () => {
  const screen = new Screen();
  const display = new LiveDisplay(screen, [], 100);
  const status = { head: "Epoch 1", fraction: 0.5, segments: [] };
  assert.equal(display.due(0), true);
  display.show(status, 0);
  assert.equal(display.due(99), false);
  assert.equal(display.due(100), true);
  display.restart();
  assert.equal(display.due(1), true);
  display.close();
});

test("a plain display writes a line a tenth, at most one a second, at least one in ten", () => {
  const log = new Log();
  const display = new PlainDisplay(log);
  const lines = (seconds: number, total: number): number => {
    log.text = "";
    display.restart(0);
    for (let i = 1; i <= total; i++) {
      const now = (i / total) * seconds * 1000;
      if (display.due(now, i / total)) display.show({ head: `${i}`, fraction: i / total, segments: [] }, now);
    }
    return log.text.split("\n").length - 1;
  };
  assert.equal(lines(0.5, 1000), 0);
  assert.equal(lines(20, 1000), 10);
  assert.equal(lines(5, 1000), 5);
  assert.ok(Math.abs(lines(300, 1000) - 30) <= 10);
  display.restart(0);
  assert.equal(display.due(9_999, null), false);
  assert.equal(display.due(10_000, null), true);
});

test("a rate starts as the plain average and follows changes", () => {
  const meter = new RateMeter(0);
  assert.equal(meter.update(10, 100), 100);
  assert.ok(Math.abs(meter.update(20, 200) - 100) < 1e-9);
  let rate = 0;
  for (let i = 1; i <= 200; i++) rate = meter.update(20 + i, 200 + i * 100);
  assert.ok(Math.abs(rate - 10) < 0.5, `settles at 10, got ${rate}`);
  assert.equal(meter.update(220, 30_000), rate, "no progress leaves it as it is");
  meter.skipTo(90_000);
  assert.ok(Math.abs(meter.update(221, 90_100) - 10) < 0.5, "a pause is left out");
});

test("a table aligns its columns and trims its lines", () => {
  const text = formatTable(
    [{ title: "layer" }, { title: "bytes", align: "right" }],
    [
      ["fc", "1.50 KiB"],
      ["convolution", "8 B"],
    ],
    { footer: [["", "2 KiB"]] },
  );
  assert.deepEqual(text.split("\n"), [
    " layer            bytes",
    "────────────────────────",
    " fc            1.50 KiB",
    " convolution        8 B",
    "────────────────────────",
    "                  2 KiB",
  ]);
});
