/**
 * One docstring for each generated operator: what its schemas say, what one small call made of shapes and dtypes
 * (operator-facts.json, which make_facts.py asks PyTorch for), what autocast does (autocast.json, which
 * tools/autocast.mjs writes), and where PyTorch describes it.
 */
import { readManifest } from "./tables.mjs";

const { torch, operators } = readManifest("operator-facts.json");
const policies = readManifest("autocast.json");
const PAGES = `https://docs.pytorch.org/docs/${torch.split(".").slice(0, 2).join(".")}/generated`;

const HOW = {
  pointwise: "Element by element; shapes broadcast.",
  reduction: "Reduces dimensions, or all of them.",
  random: "Draws random numbers.",
  view: "A view: it shares memory with its input.",
  reads: "Reads values: it waits for the device.",
  counts: "The result's shape depends on values: it waits for the device.",
};

const camel = (text) => text.replace(/(?<=[a-z0-9])_+([a-z0-9])/g, (_, c) => c.toUpperCase());

/** Arguments that may be left out and what they are then, of the first overload that has some. */
function defaultsOf(schemas) {
  for (const { args } of schemas) {
    const known = args
      .filter(({ default: value }) => ["number", "boolean", "string"].includes(typeof value))
      .map(({ name, default: value }) => `${camel(name)} = ${JSON.stringify(value)}`);
    if (known.length > 0) return ` Defaults: ${known.join(", ")}.`;
  }
  return "";
}

/** Names of several results, where they have some. */
function resultsOf(schemas) {
  const [{ returns } = { returns: [] }] = schemas;
  if (returns.length < 2 || returns.some(({ name }) => !name)) return "";
  return ` Returns ${returns.map(({ name }) => `\`${camel(name)}\``).join(", ")}.`;
}

function callOf({ shapes, dtypes = [] }) {
  if (shapes === undefined) return "";
  return ` For example \`${camel(shapes[0])}\` → \`${shapes[1]}\`.${ruleOf(dtypes)}`;
}

function ruleOf(dtypes) {
  if (dtypes.length === 0) return "";
  const from = dtypes.map(([given]) => given).join(", ");
  if (dtypes.every(([given, made]) => made.split(", ").every((each) => each === given)))
    return ` Keeps the dtype (${from}).`;
  const [[, first]] = dtypes;
  if (dtypes.length > 1 && dtypes.every(([, made]) => made === first)) return ` Makes ${first} (of ${from}).`;
  return ` dtypes: ${dtypes.map(([given, made]) => `${given} → ${made}`).join("; ")}.`;
}

function policyOf(base) {
  const [cpu, cuda] = policies[base] ?? [null, null];
  const said = [
    [cpu, "CPU"],
    [cuda, "CUDA"],
  ].filter(([rule]) => rule !== null);
  if (said.length === 0) return "";
  return ` Autocast: ${cpu === cuda ? `${cpu} on CPU and CUDA` : said.map(([rule, where]) => `${rule} on ${where}`).join(", ")}.`;
}

/**
 * @param {string} base - `add_`, without `aten::`.
 * @param {readonly { args: readonly { name: string, default?: unknown }[], returns: readonly { name?: string }[] }[]} schemas
 * @param {"function" | "method"} kind
 */
export function docOf(base, schemas, kind) {
  const own = operators[base];
  const inPlace = base.endsWith("_") && !base.endsWith("__");
  const facts = own ?? { how: [] };
  const what = inPlace
    ? `\`${camel(base.slice(0, -1))}\` in place: writes ${kind === "method" ? "this tensor" : "its first argument"}, and returns it.`
    : facts.how.map((word) => HOW[word]).join(" ") || `The operator \`aten::${base}\`.`;
  const named = kind === "method" ? (facts.method ?? facts.page) : (facts.page ?? facts.method);
  const link = named === undefined ? "" : ` [${named}](${PAGES}/${named}.html)`;
  const text = `${what}${callOf(facts)}${resultsOf(schemas)}${defaultsOf(schemas)}${policyOf(base)}${link}`;
  return `${kind === "method" ? "  " : ""}/** ${text.replaceAll("*/", "*\\/")} */\n`;
}
