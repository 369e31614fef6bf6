/**
 * Given to the process of every test file (`node --import`): at its end, when its last `after` has run, a file fails
 * that left something behind for good.
 *
 * - Listeners of the process, of its standard output and standard error, that were not there at the start.
 * - Tensors that nothing will ever free. A tensor is freed by `dispose()`, with its scope, or by its finalizer when the
 *   garbage collector has found its JavaScript object. One without a finalizer is lost when all tests have
 * ended: a scope that is entered several times was never closed, a list of gradients was not disposed of, or a handle
 * came from the addon and nobody made a tensor of it.
 * - Hooks and backward functions that a collection leaves alive. The addon holds them for as long as their tensors
 *   live, so one that refers to its own tensor is never collected. A hook of a tensor that the file itself holds
 *   counts as well: take it away.
 *
 * What remains are tensors that JavaScript still reaches, and those that wait for the collector: no leaks. Whether a
 * loop makes more of them with each step is what tests/leaks counts. Not seen: other threads, whose tensors go with
 * them, and processes that a test starts. A file that loads no addon loads none for this, and memory is collected only
 * where there are hooks.
 */
import { writeSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { isMainThread } from "node:worker_threads";

const EMITTERS = Object.entries({ process, "process.stdout": process.stdout, "process.stderr": process.stderr });
const MOST_LINES = 20;
/** Each may set free what the next one finds. */
const COLLECTIONS = 5;

function listeners() {
  return EMITTERS.flatMap(([name, emitter]) =>
    emitter
      .eventNames()
      .map((event) => ({
        place: `${name}.on(${JSON.stringify(String(event))}, …)`,
        list: emitter
          .rawListeners(event)
          .filter((listener) => (emitter === process ? !isEndOfPlugins(listener) : !isPipe(listener))),
      })),
  );
}

/** @nbit/xla waits for its plugins at the very end, from when it has loaded its addon. */
const isEndOfPlugins = (listener) => (listener.listener ?? listener).name === "endPlugins";

/** Threads that Node.js starts for itself, for module hooks say, are piped to the standard streams for good. */
function isPipe(listener) {
  return ["onunpipe", "onclose", "onfinish", "onerror"].includes((listener.listener ?? listener).name);
}

/** Listeners that are there `after`, and were not `before`. The same function may be there several times. */
function addedListeners(before, after) {
  const known = new Map(before.map(({ place, list }) => [place, [...list]]));
  return after.flatMap(({ place, list }) => {
    const left = known.get(place) ?? [];
    const added = list.filter((listener) => {
      const at = left.indexOf(listener);
      if (at >= 0) left.splice(at, 1);
      return at < 0;
    });
    return added.map((listener) => `${place} was never taken back: ${brief(listener.listener ?? listener)}`);
  });
}

function brief(listener) {
  const text = String(listener).replace(/\s+/g, " ");
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
}

/** Kinds of tensors that are lost, and how many there are of each. */
function lostTensors(addon) {
  const counts = new Map();
  for (const line of addon.unguarded().split("\n")) if (line !== "") counts.set(line, (counts.get(line) ?? 0) + 1);
  return [...counts].map(
    ([what, count]) => `${count} ${count === 1 ? "tensor" : "tensors"} that nothing will ever free: ${what}`,
  );
}

function keptHooks(addon) {
  if (addon.javascriptNodeCount() === 0) return [];
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc");
  for (let i = 0; i < COLLECTIONS; i++) {
    collect();
    addon.releaseMany(0); // lets go of the functions whose tensors have gone
  }
  const count = addon.javascriptNodeCount();
  return count === 0
    ? []
    : [
        `${count} ${count === 1 ? "hook or backward function that is" : "hooks and backward functions that are"} never collected, with all tensors that they refer to`,
      ];
}

/** Every load of the addon into this thread, from now on. */
function noteAddons() {
  const addons = [];
  const open = process.dlopen;
  process.dlopen = (module, ...rest) => {
    Reflect.apply(open, process, [module, ...rest]);
    if (typeof module.exports?.unguarded === "function") addons.push(module.exports);
  };
  return addons;
}

function watch() {
  const addons = noteAddons();
  let before = [];
  process.on("exit", () => {
    const findings = [
      ...addedListeners(before, listeners()),
      ...addons.flatMap(lostTensors),
      ...addons.flatMap(keptHooks),
    ];
    if (findings.length === 0) return;
    const more = findings.length - MOST_LINES;
    writeSync(
      2,
      `${[`leak check: ${process.argv[1]}`, ...findings.slice(0, MOST_LINES), ...(more > 0 ? [`and ${more} more`] : [])].join("\n  ")}\n`,
    );
    process.exitCode = 1;
  });
  before = listeners();
}

// Not in processes that a test starts with the flags of its own.
if (isMainThread && /\.test\.m?js$/.test(process.argv[1] ?? "")) watch();
