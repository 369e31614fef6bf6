/**
 * Reads the schemas of every operator out of libtorch, and which of them are functions and methods out of its headers,
 * and writes
 *   packages/torch/src/generated/*.ts   one declaration per public operator
 *   packages/native/generated/hot.cc    direct calls of the hot list
 *   packages/native/generated/guards.inc  the table of guards
 * and, before it asks the addon for anything, what tables.mjs makes of the manifest.
 * `--check` writes nothing and fails when a file on disk differs; `--tables` is about what the manifest alone says.
 */
import { readFileSync, writeFileSync, existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { guardsSource } from "./guards.mjs";
import { docOf } from "./docs.mjs";
import { hotSource } from "./hot.mjs";
import { readManifest as read, tables } from "./tables.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "..", "..", "..");
const check = process.argv.includes("--check");
const stale = [];
function put(name, text) {
  const path = join(root, name);
  if (existsSync(path) && readFileSync(path, "utf8") === text) return;
  stale.push(name);
  if (check) return;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}
function finish(said) {
  console.log(
    `${said}; ${stale.length === 0 ? "all files up to date" : `${check ? "out of date" : "written"}: ${stale.join(", ")}`}`,
  );
  process.exit(check && stale.length > 0 ? 1 : 0);
}
const written = tables();
for (const [name, text] of written) put(name, text);
if (process.argv.includes("--tables")) finish(`${written.size} tables`);

// The addon that is compiled with those files may not be built yet.
const { native, libtorch } = await import("../lib/index.mjs");
const exclusions = read("exclusions.json");
const rules = exclusions.rules.map((r) => new RegExp(r.pattern));
const byHand = new Set(exclusions.methodsByHand);
const shaped = read("shaped.json");
const reserved = new Set(exclusions.reserved);
const include = join(libtorch.path, "include", "ATen");

export const camel = (name) => name.replace(/(?<=[^_])_+([a-z0-9])/g, (_, c) => c.toUpperCase());

const bodyHeader = readFileSync(join(include, "core", "TensorBody.h"), "utf8");
function isFunction(base) {
  // What works in place stands in the header of what does not.
  const header = join(include, "ops", `${base.replace(/_$/, "")}.h`);
  return existsSync(header) && new RegExp(`\\binline [^\\n;]* ${base}\\(`).test(readFileSync(header, "utf8"));
}

const reachable = (s) =>
  !/dimname|(^|_)names/i.test(s.overload) && !s.args.some((a) => a.kind === "?" && a.default === undefined);
function schemas(base) {
  return JSON.parse(native.schemas(`aten::${base}`))
    .filter(reachable)
    .sort((x, y) => (x.overload < y.overload ? -1 : 1));
}
const isOut = (s) => s.args.some((a) => a.write && a.kwarg);
const methodNames = new Set([...bodyHeader.matchAll(/\binline [^\n;]* Tensor::(\w+)\(/g)].map((m) => m[1]));
for (const name of exclusions.methodsInClass) methodNames.add(name);

// ---------------------------------------------------------------- TypeScript types
const SCALARS = {
  t: "Tensor",
  i: "Int",
  f: "number",
  s: "Scalar",
  b: "boolean",
  S: "string",
  d: "DType",
  l: "Layout",
  m: "MemoryFormat",
  D: "DeviceLike",
  g: "Generator",
};
function typeOf(a) {
  let t = SCALARS[a.kind] ?? "never";
  if (a.list) {
    if (a.kind === "t") t = a.elementOptional ? "readonly (Tensor | null)[]" : "Tensors";
    else if (a.kind === "i") t = a.size ? "Int | Ints" : "Ints";
    else t = `readonly ${t === "Scalar" ? "Scalar" : t}[]`;
    if (a.kind === "f" && a.size) t = `number | ${t}`;
  }
  return a.optional ? `${t} | null` : t;
}
const safe = (name) => (reserved.has(name) ? `${name}_` : name);
function resultOf(s, self) {
  const one = (r) =>
    r.alias >= 0 && self && r.alias === 0
      ? "this"
      : r.list
        ? r.kind === "t"
          ? "Tensor[]"
          : `${SCALARS[r.kind]}[]`
        : ({ t: "Tensor", i: "number", f: "number", b: "boolean", s: "Scalar", d: "DType", D: "Device" }[r.kind] ??
          "unknown");
  if (s.returns.length === 0) return "void";
  if (s.returns.length === 1) return one(s.returns[0]);
  const names = s.returns.every((r) => r.name)
    ? ` & { ${s.returns.map((r) => `readonly ${camel(r.name)}: ${one(r)}`).join("; ")} }`
    : "";
  return `[${s.returns.map(one).join(", ")}]${names}`;
}
const key = (s) =>
  s.args
    .filter((a) => !(a.write && a.kwarg))
    .map((a) => `${a.name}:${typeOf(a)}`)
    .join(",");

// As 1 - x in Python: ops/operator.ts makes a tensor of the number.
const NUMBER_FIRST = new Set([
  "add",
  "sub",
  "subtract",
  "mul",
  "multiply",
  "div",
  "divide",
  "true_divide",
  "floor_divide",
]);

function signatures(base, self) {
  const all = schemas(base);
  const outs = new Map(all.filter(isOut).map((s) => [key(s), s]));
  const lines = new Set();
  for (const s of all.filter((x) => !isOut(x))) {
    const at = Math.max(
      0,
      s.args.findIndex((a) => a.name === "self"),
    );
    if (self && (s.args[at]?.kind !== "t" || s.args[at].list)) continue;
    const args = self ? s.args.filter((_, i) => i !== at) : s.args;
    const positional = args.filter((a) => !a.kwarg && a.kind !== "?");
    const out = outs.get(key(s));
    const outArgs = out ? out.args.filter((a) => a.write && a.kwarg) : [];
    const factory = s.args.some((a) => a.name === "dtype" && a.kwarg) && s.args.some((a) => a.name === "pin_memory");
    const option = (a) => `${camel(a.name)}?: ${typeOf(a)}`;
    const optionsFrom = (i) => {
      const named = [
        ...positional.slice(i).filter((a) => a.default !== undefined),
        ...args.filter((a) => a.kwarg && a.kind !== "?"),
      ].map(option);
      for (const a of outArgs) named.push(`${camel(a.name)}?: Tensor`);
      if (factory) named.push("requiresGrad?: boolean");
      return named.length ? `{ ${named.join("; ")} }` : null;
    };
    const required = positional.findIndex((a) => a.default !== undefined);
    const firstOptional = required === -1 ? positional.length : required;
    const parts = positional.map((a, i) => {
      const name = safe(camel(a.name));
      if (i < firstOptional) return `${name}: ${typeOf(a)}`;
      const o = optionsFrom(i);
      return `${name}?: ${typeOf(a)}${o ? ` | ${o}` : ""}`;
    });
    const tail = optionsFrom(positional.length);
    if (tail) parts.push(`options?: ${tail}`);
    // kwarg-only arguments without a default cannot be left out.
    const must = args.some((a) => a.kwarg && a.default === undefined);
    const list = must ? parts.map((p) => p.replace(/^options\?/, "options")) : parts;
    const result = resultOf(s, self);
    lines.add(`(${list.join(", ")}): ${result}`);
    const sizes = positional.findIndex((a) => a.list && a.kind === "i" && !a.size && !a.optional);
    if (
      sizes === (self ? 0 : positional[0]?.kind === "t" ? 1 : 0) &&
      positional.slice(sizes + 1).every((a) => a.default !== undefined) &&
      sizes >= 0
    ) {
      const before = positional.slice(0, sizes).map((a) => `${safe(camel(a.name))}: ${typeOf(a)}`);
      lines.add(`(${[...before, `...${safe(camel(positional[sizes].name))}: number[]`].join(", ")}): ${result}`);
    }
  }
  return !self && NUMBER_FIRST.has(base) ? numberFirst([...lines]) : [...lines];
}
/** `sub(1, x)` beside `sub(x, y)`. */
function numberFirst(lines) {
  const pairs = lines.filter((line) => line.startsWith("(self: Tensor, other: Tensor"));
  return [...lines, ...pairs.map((line) => line.replace("self: Tensor", "self: number"))];
}

// ---------------------------------------------------------------- files
const HEAD =
  "// Generated by packages/native/manifest/generate.mjs from libtorch's schemas. Do not edit: run `npm run generate`.\n/* eslint-disable */\n";
const TYPES = `import type { Tensor } from "../tensor/tensor.js";
import type { TensorList } from "../tensor/list.js";
import type { DType } from "../tensor/dtype.js";
import type { DeviceLike, Device } from "../tensor/device.js";
import type { Generator } from "../ops/generator.js";
import type { Scalar } from "../ops/complex.js";
import type { Int, Ints, Layout, MemoryFormat, Tensors } from "../ops/types.js";
`;
const names = native
  .operatorNames()
  .split("\n")
  .filter((n) => n.startsWith("aten::"))
  .map((n) => n.slice(6));
const publicNames = names.filter((n) => !rules.some((r) => r.test(n)) && schemas(n).some((s) => !isOut(s)));

const NAMESPACES = ["linalg", "fft", "special"];
const files = new Map();
let functionCount = 0;

const overloadsOf = (base) => schemas(base).filter((s) => !isOut(s));

function functionsFile(list, prefix) {
  let body = "";
  const renamed = [];
  for (const base of list) {
    const sigs = signaturesOf(base, false);
    if (sigs.length === 0) continue;
    functionCount++;
    const short = camel(prefix ? base.slice(prefix.length + 1) : base);
    const local = reserved.has(short) ? `${short}_` : short;
    if (local !== short) renamed.push(`${local} as ${short}`);
    sigs.unshift(...shapedSignatures(base, false));
    body += docOf(base, overloadsOf(base), "function");
    body += `${local === short ? "export " : ""}const ${local}: {\n${sigs.map((s) => `  ${s};`).join("\n")}\n} = bind("${base}");\n`;
  }
  if (renamed.length) body += `export { ${renamed.join(", ")} };\n`;
  return `${HEAD}${used(TYPES, body)}${shapedTypes(body)}import { bind } from "../ops/bind.js";\n\n${body}`;
}
/** Signatures that follow shapes: shaped.json. */
function shapedSignatures(base, method) {
  const first = method ? "this" : "self";
  const same = Object.entries(shaped.same)
    .filter(([, names]) => names.includes(base))
    .map(([rest]) => `<T extends Tensor>(${[`${first}: T`, rest].filter(Boolean).join(", ")}): Same<T>`);
  return [...same, ...((method ? shaped.methods[base] : undefined) ?? [])];
}
/** What stands in place of libtorch's signatures, or these. */
function signaturesOf(base, method) {
  const own = signatures(base, method);
  const replacing = shaped.replacing[method ? "methods" : "functions"][base];
  return own.length > 0 && replacing !== undefined ? replacing : own;
}
function shapedTypes(body) {
  const types = shaped.types.filter((n) => new RegExp(`\\b${n}\\b`).test(body));
  return types.length === 0 ? "" : `import type { ${types.join(", ")} } from "../tensor/shapes.js";\n`;
}
function used(header, body) {
  return (
    header
      .split("\n")
      .map((line) => {
        const m = /^import type \{ (.*) \} from (.*)$/.exec(line);
        if (!m) return line;
        const keep = m[1].split(", ").filter((n) => new RegExp(`\\b${n}\\b`).test(body));
        return keep.length ? `import type { ${keep.join(", ")} } from ${m[2]}` : "";
      })
      .filter(Boolean)
      .join("\n") + "\n"
  );
}

const plain = publicNames.filter((n) => !NAMESPACES.some((p) => n.startsWith(`${p}_`)) && isFunction(n));
files.set("packages/torch/src/generated/functions.ts", functionsFile(plain, ""));
for (const p of NAMESPACES)
  files.set(
    `packages/torch/src/generated/${p}.ts`,
    functionsFile(
      publicNames.filter((n) => n.startsWith(`${p}_`) && isFunction(n)),
      p,
    ),
  );

let methods = "";
const attached = [];
for (const base of publicNames.filter((n) => methodNames.has(n) && !byHand.has(n))) {
  const sigs = signaturesOf(base, true);
  if (sigs.length === 0) continue;
  attached.push(base);
  methods += docOf(base, overloadsOf(base), "method");
  for (const s of [...shapedSignatures(base, true), ...sigs]) methods += `  ${camel(base)}${s};\n`;
}
files.set(
  "packages/torch/src/generated/methods.ts",
  `${HEAD}${used(TYPES, methods)}${shapedTypes(methods)}\n/** Operators as methods: \`this\` is their first argument. */\nexport interface TensorMethods {\n${methods}}\n\nexport const METHODS: readonly string[] = [\n${attached.map((n) => `  "${n}",`).join("\n")}\n];\n`,
);
files.set(
  "packages/native/generated/hot.cc",
  hotSource(read("hot.json").operators, (base, overload) =>
    JSON.parse(native.schemas(`aten::${base}`)).find((s) => s.overload === overload),
  ),
);
files.set(
  "packages/native/generated/guards.inc",
  guardsSource(read("guards.json").guards, names, (name) => JSON.parse(native.schemas(`aten::${name}`))),
);

for (const [name, text] of files) put(name, text);
finish(`${functionCount} functions, ${attached.length} methods of ${names.length} operators`);
