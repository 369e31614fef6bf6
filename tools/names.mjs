/**
 * Which public names of PyTorch and of Lightning are here: `npm run names` (it needs a Python with both:
 * `NBIT_BASELINE_PYTHON`, else python3) writes docs/names.md and docs/names-lightning.md, `--check` says what of them is
 * not as it should be; `--only=torch` and `--only=lightning` take one of the two.
 *
 * A name is there under its own name in camelCase, and then a test must say it; or elsewhere, under a name that exists;
 * or it does not apply, with the reason and what to write instead; or it is absent. The tables of places in tools/names
 * hold the second and the third.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { camel } from "./names/camel.mjs";
import { lightning } from "./names/lightning.mjs";
import { torch } from "./names/torch.mjs";
import { fromRoot, root } from "./workspace.mjs";

const LIBRARIES = { torch, lightning };

/** Of every namespace, how many names may be absent, and of all together which share. */
const MOST_ABSENT = 1;
const MOST_ABSENT_OF_ALL = 0.03;

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

/** The rule of a table of places for a name: by itself, or by a pattern of its namespace. */
function placeOf(rules, name) {
  if (rules[name] !== undefined) return rules[name];
  for (const [pattern, rule] of Object.entries(rules))
    if (pattern.startsWith("/") && new RegExp(`^(?:${pattern.slice(1, -1)})$`).test(name)) return rule;
  return null;
}

function collect(library) {
  const python = process.env["NBIT_BASELINE_PYTHON"] ?? "python3";
  const script = join(root, "tools", "names", library.collector);
  const said = execFileSync(python, [script], {
    encoding: "utf8",
    maxBuffer: 2 ** 26,
    stdio: ["ignore", "pipe", "ignore"],
  });
  return JSON.parse(said.slice(said.indexOf("{")));
}

/** What became of each name of a library. */
async function reportOf(library, words) {
  const places = JSON.parse(readFileSync(join(root, "tools", "names", library.places), "utf8"));
  const has = await library.finder();
  const { version, spaces } = collect(library);
  const found = Object.entries(spaces).map(([space, names]) => {
    const result = { space, count: names.length, own: [], untested: [], elsewhere: [], notApplicable: [], absent: [] };
    for (const name of names) {
      const place = placeOf(places[space] ?? {}, name);
      if (place?.not !== undefined) result.notApplicable.push([name, place.not]);
      else if (has(space, name)) {
        result.own.push(name);
        const last = camel(name.split(".").at(-1));
        if (!words.has(last) && !words.has(last.replace(/_$/, ""))) result.untested.push(name);
      } else if (place?.at !== undefined) result.elsewhere.push([name, place.at]);
      else result.absent.push(name);
    }
    return result;
  });
  return { version, spaces: found, places };
}

const percent = (part, of) => (of === 0 ? "–" : `${Math.round((100 * part) / of)} %`);

function pageOf(library, { version, spaces }) {
  const total = { count: 0, own: 0, elsewhere: 0, notApplicable: 0, absent: 0 };
  const rows = spaces.map((s) => {
    total.count += s.count;
    for (const key of ["own", "elsewhere", "notApplicable", "absent"]) total[key] += s[key].length;
    return `| \`${library.titleOf(s.space)}\` | ${s.count} | ${s.own.length} | ${s.elsewhere.length} | ${s.notApplicable.length} | ${s.absent.length} | ${percent(s.own.length + s.elsewhere.length, s.count - s.notApplicable.length)} |`;
  });
  const lines = [
    `# ${library.title} ${version}'s names`,
    "",
    `Every public name of ${library.title}, and where it is here. ${library.rule} *Elsewhere*: under the place that stands beside it. *Not applicable*: Python's own mechanics, other vendors' devices, hosted services, and what ${library.title} keeps for itself; what to write instead stands beside it. Made by \`npm run names\`.`,
    "",
    "| namespace | names | same name | elsewhere | not applicable | absent | of those that apply |",
    "|---|---|---|---|---|---|---|",
    ...rows,
    `| all | ${total.count} | ${total.own} | ${total.elsewhere} | ${total.notApplicable} | ${total.absent} | ${percent(total.own + total.elsewhere, total.count - total.notApplicable)} |`,
    "",
  ];
  for (const s of spaces) {
    if (s.elsewhere.length + s.notApplicable.length + s.absent.length === 0) continue;
    lines.push(`## ${library.titleOf(s.space)}`, "");
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

/** Names of one place or reason stand together. */
function grouped(pairs, say, between = "; ") {
  const by = new Map();
  for (const [name, text] of pairs) by.set(text, [...(by.get(text) ?? []), `\`${name}\``]);
  return [...by].map(([text, names]) => say(names.join(", "), text)).join(between);
}

/** What is not as the rule wants it. */
function faultsOf({ spaces, places }) {
  const faults = [];
  for (const s of spaces) {
    if (s.absent.length > MOST_ABSENT) faults.push(`${s.space}: ${s.absent.length} absent: ${s.absent.join(", ")}`);
    if (s.untested.length > 0) faults.push(`${s.space}: no test says ${s.untested.join(", ")}`);
    const known = new Set([...s.elsewhere, ...s.notApplicable].map(([name]) => name));
    for (const name of Object.keys(places[s.space] ?? {}))
      if (!name.startsWith("/") && !known.has(name) && !s.absent.includes(name))
        faults.push(
          `${s.space}: the table of places tells of ${name}, which is ${s.own.includes(name) ? "there under its own name" : "no name"}`,
        );
  }
  for (const space of Object.keys(places))
    if (!spaces.some((s) => s.space === space))
      faults.push(`${space}: no namespace, although the table of places has it`);
  const applicable = spaces.reduce((n, s) => n + s.count - s.notApplicable.length, 0);
  const absent = spaces.reduce((n, s) => n + s.absent.length, 0);
  if (absent > applicable * MOST_ABSENT_OF_ALL) faults.push(`${absent} of ${applicable} names are absent`);
  return faults;
}

function librariesOf(flags) {
  const only = flags.find((flag) => flag.startsWith("--only="))?.slice("--only=".length);
  const unknown = flags.filter((flag) => flag !== "--check" && !flag.startsWith("--only="));
  if (unknown.length > 0 || (only !== undefined && LIBRARIES[only] === undefined))
    throw new Error(
      `expected --check and --only=${Object.keys(LIBRARIES).join(" or --only=")}. Received: ${flags.join(" ")}`,
    );
  return only === undefined ? Object.values(LIBRARIES) : [LIBRARIES[only]];
}

const flags = process.argv.slice(2);
const words = wordsOfTests();
for (const library of librariesOf(flags)) {
  const found = await reportOf(library, words);
  const text = pageOf(library, found);
  const faults = faultsOf(found);
  const page = join(root, "docs", library.page);
  if (!flags.includes("--check")) writeFileSync(page, text);
  else if (readFileSync(page, "utf8") !== text) faults.push(`docs/${library.page} is not current: npm run names`);
  for (const fault of faults) console.error(fault);
  const count = found.spaces.reduce((n, s) => n + s.count, 0);
  console.log(`${library.of}: ${count}, ${faults.length} faults`);
  if (faults.length > 0) process.exitCode = 1;
}
