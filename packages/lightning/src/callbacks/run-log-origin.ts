/** Where a run comes from: its command, versions, machine and hyper-parameters, as the first record of its log has them. */
import { readFileSync } from "node:fs";
import { arch, cpus, hostname, platform, release, totalmem } from "node:os";
import { versions } from "@nbit/torch";
import { isPlain } from "@nbit/torch/realm";

/** What a hyper-parameter may hold before the log says only what it was. */
const DEEPEST = 6;
const MOST_ITEMS = 1000;
const LONGEST = 2000;

const SECRET = /(api.?key|token|secret|passw|credential)/i;

/** @returns of this process; the same for all of its runs. */
export function originOf(): object {
  const all = cpus();
  return {
    command: commandLine(process.argv),
    cwd: process.cwd(),
    versions: { nbit: ownVersion(), ...versions() },
    system: {
      host: hostname(),
      platform: `${platform()} ${release()} ${arch()}`,
      cpu: all[0]?.model ?? "",
      cpus: all.length,
      memory: totalmem(),
    },
  };
}

/** Arguments as they were given; the value of a flag that is named like a secret is left out. */
export function commandLine(args: readonly string[]): string[] {
  return args.map((arg, i) => {
    const before = args[i - 1] ?? "";
    if (/^--?[^=]+=/.test(arg) && SECRET.test(arg.slice(0, arg.indexOf("="))))
      return `${arg.slice(0, arg.indexOf("="))}=…`;
    return before.startsWith("-") && !before.includes("=") && SECRET.test(before) && !arg.startsWith("-") ? "…" : arg;
  });
}

let version: string | null = null;
function ownVersion(): string {
  if (version !== null) return version;
  const manifest: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  version = isPlain(manifest) ? String(manifest["version"]) : "";
  return version;
}

/** Values as JSON has them: of what it has no word for, what it was. */
export function plainValues(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, SECRET.test(name) ? "…" : plainValue(value, [])]),
  );
}

function plainValue(value: unknown, open: readonly unknown[]): unknown {
  switch (typeof value) {
    case "number":
    case "boolean":
      return value;
    case "string":
      return value.length > LONGEST ? `${value.slice(0, LONGEST)}…` : value;
    case "bigint":
      return String(value);
    case "function":
      return `<${value.name === "" ? "function" : value.name}>`;
    case "object":
      break;
    default:
      return `<${typeof value}>`;
  }
  if (value === null) return null;
  if (open.includes(value)) return "<circular>";
  const inside = [...open, value];
  if (Array.isArray(value))
    return inside.length > DEEPEST || value.length > MOST_ITEMS
      ? `<list of ${value.length}>`
      : value.map((item: unknown) => plainValue(item, inside));
  if (isPlain(value) && inside.length <= DEEPEST)
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, plainValue(item, inside)]));
  return `<${nameOfClass(value)}>`;
}

function nameOfClass(value: object): string {
  const { constructor } = value;
  return typeof constructor === "function" && constructor.name !== "" ? constructor.name : "object";
}
