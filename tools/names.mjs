/**
 * Which of PyTorch's public names nbit has: `npm run names` (it needs a Python with PyTorch: `NBIT_BASELINE_PYTHON`, else
 * python3) writes docs/names.md, `--check` says what of it is not as it should be.
 *
 * A name is there under its own name in camelCase, and then a test must say it; or elsewhere, under a name that exists;
 * or it does not apply, with the reason and what to write instead; or it is absent. tools/names/places.json holds the
 * second and the third.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fromRoot, root } from "./workspace.mjs";

const page = join(root, "docs", "names.md");
const places = JSON.parse(readFileSync(join(root, "tools", "names", "places.json"), "utf8"));

/** Of every namespace, how many names may be absent, and of all together which share. */
const MOST_ABSENT = 1;
const MOST_ABSENT_OF_ALL = 0.03;

const KEPT = new Set(["T", "H"]);
/** snake_case → camelCase; classes, constants and the edges of a name are kept. */
export function camel(name) {
  if (KEPT.has(name)) return name;
  return name.replace(/(?<=[^_.])_+([a-zA-Z0-9])/g, (_, c) => c.toUpperCase());
}

/** Where members of classes and arguments are looked for beside namespaces. */
function lookup(torch, path) {
  let found = torch;
  for (const part of path.split(".")) {
    if (found === null || (typeof found !== "object" && typeof found !== "function")) return false;
    if (!(part in found)) return false;
    // A getter of a prototype is there, and must not be called on it.
    if (part !== path.split(".").at(-1)) found = found[part];
  }
  return true;
}

const SPACES = {
  torch: "",
  Tensor: "Tensor.prototype.",
  "utils.data": ["utils.data.", ""],
  "utils.checkpoint": ["utils.checkpoint.", ""],
  random: ["random.", ""],
  serialization: ["serialization.", ""],
};
/** Paths below @nbit/torch where a name of a namespace may stand under its own name. */
function candidates(space, name) {
  const prefixes = SPACES[space] ?? [`${space.split(".").map(camel).join(".")}.`];
  return [prefixes].flat().map((prefix) => prefix + name.split(".").map(camel).join("."));
}

/** Every word of the tests, so that a name that no test says is told. */
function wordsOfTests() {
  const words = new Set();
  const walk = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) {
        if (!["dist", "node_modules", "build"].includes(entry.name)) walk(path);
      } else if (/\.test\.ts$/.test(entry.name) || (/\.(?:ts|py|json|jsonl)$/.test(entry.name) && inTests(path))) {
        for (const word of readFileSync(path, "utf8").match(/[A-Za-z_]\w*/g) ?? []) words.add(camel(word));
      }
    }
  };
  for (const folder of ["packages", "tests", "examples"]) walk(join(root, folder));
  return words;
}
const inTests = (path) => fromRoot(path).startsWith("tests/");

/** The rule of places.json for a name: by itself, or by a pattern of its namespace. */
function placeOf(space, name) {
  const rules = places[space] ?? {};
  if (rules[name] !== undefined) return rules[name];
  for (const [pattern, rule] of Object.entries(rules))
    if (pattern.startsWith("/") && new RegExp(`^(?:${pattern.slice(1, -1)})$`).test(name)) return rule;
  return null;
}

export async function report() {
  const torch = await import("@nbit/torch");
  const python = process.env["NBIT_BASELINE_PYTHON"] ?? "python3";
  const collected = JSON.parse(
    execFileSync(python, [join(root, "tools", "names", "collect.py")], { encoding: "utf8", maxBuffer: 2 ** 26 }),
  );
  const words = wordsOfTests();
  const spaces = Object.entries(collected.spaces).map(([space, names]) => {
    const result = { space, count: names.length, own: [], untested: [], elsewhere: [], notApplicable: [], absent: [] };
    for (const name of names) {
      const place = placeOf(space, name);
      if (place?.not !== undefined) result.notApplicable.push([name, place.not]);
      else if (candidates(space, name).some((path) => lookup(torch, path))) {
        result.own.push(name);
        const last = camel(name.split(".").at(-1));
        if (!words.has(last) && !words.has(last.replace(/_$/, ""))) result.untested.push(name);
      } else if (place?.at !== undefined) result.elsewhere.push([name, place.at]);
      else result.absent.push(name);
    }
    return result;
  });
  return { version: collected.version, spaces, constructors: collected.constructors };
}

const percent = (part, of) => (of === 0 ? "–" : `${Math.round((100 * part) / of)} %`);

function pageOf({ version, spaces }) {
  const total = { count: 0, own: 0, elsewhere: 0, notApplicable: 0, absent: 0 };
  const rows = spaces.map((s) => {
    total.count += s.count;
    for (const key of ["own", "elsewhere", "notApplicable", "absent"]) total[key] += s[key].length;
    return `| \`${titleOf(s.space)}\` | ${s.count} | ${s.own.length} | ${s.elsewhere.length} | ${s.notApplicable.length} | ${s.absent.length} | ${percent(s.own.length + s.elsewhere.length, s.count - s.notApplicable.length)} |`;
  });
  const lines = [
    `# PyTorch ${version}'s names`,
    "",
    "Every public name of PyTorch, and where it is here. A name in camelCase in the same namespace is the rule (`torch.nn.functional.batch_norm` is `nn.functional.batchNorm`; classes keep their names), and is not listed below. *Elsewhere*: under the place that stands beside it. *Not applicable*: Python's own mechanics, other vendors' devices, hosted services, and what PyTorch keeps for itself; what to write instead stands beside it. Made by `npm run names`.",
    "",
    "| namespace | names | same name | elsewhere | not applicable | absent | of those that apply |",
    "|---|---|---|---|---|---|---|",
    ...rows,
    `| all | ${total.count} | ${total.own} | ${total.elsewhere} | ${total.notApplicable} | ${total.absent} | ${percent(total.own + total.elsewhere, total.count - total.notApplicable)} |`,
    "",
  ];
  for (const s of spaces) {
    if (s.elsewhere.length + s.notApplicable.length + s.absent.length === 0) continue;
    lines.push(`## ${titleOf(s.space)}`, "");
    if (s.elsewhere.length > 0)
      lines.push(`Elsewhere: ${grouped(s.elsewhere, (names, at) => `${names} → ${at}`)}.`, "");
    if (s.notApplicable.length > 0)
      lines.push(
        "Not applicable:",
        "",
        ...grouped(s.notApplicable, (names, why) => `- ${names}: ${why}`, "\n").split("\n"),
        "",
      );
    if (s.absent.length > 0) lines.push(`Absent: ${s.absent.map((n) => `\`${n}\``).join(", ")}.`, "");
  }
  return lines.join("\n");
}
const titleOf = (space) =>
  space === "torch" ? "torch" : `torch.${space.replace(".prototype", "").replace("Tensor.__", "Tensor.__…__")}`;
/** Names of one place or reason stand together. */
function grouped(pairs, say, between = "; ") {
  const by = new Map();
  for (const [name, text] of pairs) by.set(text, [...(by.get(text) ?? []), `\`${name}\``]);
  return [...by].map(([text, names]) => say(names.join(", "), text)).join(between);
}

/** What is not as the rule wants it. */
export function faultsOf({ spaces }) {
  const faults = [];
  for (const s of spaces) {
    if (s.absent.length > MOST_ABSENT) faults.push(`${s.space}: ${s.absent.length} absent: ${s.absent.join(", ")}`);
    if (s.untested.length > 0) faults.push(`${s.space}: no test says ${s.untested.join(", ")}`);
    const known = new Set([...s.elsewhere, ...s.notApplicable].map(([name]) => name));
    for (const name of Object.keys(places[s.space] ?? {}))
      if (!name.startsWith("/") && !known.has(name) && !s.absent.includes(name))
        faults.push(
          `${s.space}: places.json tells of ${name}, which is ${s.own.includes(name) ? "there under its own name" : "no name"}`,
        );
  }
  const applicable = spaces.reduce((n, s) => n + s.count - s.notApplicable.length, 0);
  const absent = spaces.reduce((n, s) => n + s.absent.length, 0);
  if (absent > applicable * MOST_ABSENT_OF_ALL) faults.push(`${absent} of ${applicable} names are absent`);
  return faults;
}

if (process.argv[1] === import.meta.filename) {
  const found = await report();
  const text = pageOf(found);
  const faults = faultsOf(found);
  if (process.argv.includes("--check")) {
    if (readFileSync(page, "utf8") !== text) faults.push("docs/names.md is not current: npm run names");
  } else writeFileSync(page, text);
  for (const fault of faults) console.error(fault);
  console.log(`names: ${found.spaces.reduce((n, s) => n + s.count, 0)} names, ${faults.length} faults`);
  if (faults.length > 0) process.exitCode = 1;
}
