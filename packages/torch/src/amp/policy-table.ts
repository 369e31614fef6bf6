/** What autocast does with each operator, found by asking libtorch. */
import { traceOperators } from "../autograd/index.js";
import { cudaDeviceCount, kernelsOf } from "../backend.js";
import { NbitError } from "../errors.js";
import { withoutWarnings } from "../native.js";
import { native } from "../native.js";
import { atMost } from "../options.js";
import { schemasOf, type Schema } from "../ops/schema.js";
import { device as deviceOf, deviceTypeCode, type DeviceLike } from "../tensor/device.js";
import { autocast } from "./autocast.js";

/**
 * `lower`: inputs are cast to the region's dtype. `float32`: to float32. `promote`: to the widest input's dtype.
 * `setOptDtype` and `appendDtype`: computed with dtype = float32. `banned`: an error in 16 bits. `none`: has a kernel
 * of autocast that casts nothing.
 */
export type AutocastRule = "lower" | "float32" | "promote" | "setOptDtype" | "banned" | "none";

interface Probe {
  /** dtypes that inputs were cast to before the operator itself ran. */
  readonly casts: ReadonlySet<string>;
  readonly banned: boolean;
}

/** Which tensors of a call are bfloat16; the others are float32. */
const Narrow = { none: 0, all: 1, first: 2 } as const;

/**
 * Calls the operator with small tensors. That need not make sense: what matters is what was cast before it complained.
 */
function probe(name: string, schema: Schema, device: DeviceLike, narrow: 0 | 1 | 2): Probe {
  let banned = false;
  const muted = native.muteWarnings(true); // many of these operators are deprecated, and nobody asked for them
  const { events } = traceOperators(() => {
    try {
      const { type } = deviceOf(device);
      autocast({ deviceType: type, dtype: "bfloat16", cacheEnabled: false }, () =>
        native.autocastProbe(schema.name, schema.overload, deviceTypeCode(type), narrow),
      );
    } catch (error) {
      banned = error instanceof NbitError && /unsafe to autocast/.test(error.message);
    } finally {
      native.muteWarnings(muted);
    }
  });
  const casts = new Set<string>();
  const outer = events.findIndex((e) => e.name === `aten::${name}` && e.depth === 0);
  for (const e of events.slice(outer + 1)) {
    if (e.depth === 1 && e.name === `aten::${name}`) break;
    if (e.name === "aten::_to_copy" && e.outputs[0]) casts.add(e.outputs[0].dtype);
  }
  return { casts, banned };
}

function ruleOf(name: string, schema: Schema, device: DeviceLike): AutocastRule {
  const wide = probe(name, schema, device, Narrow.none);
  if (wide.banned) return "banned";
  if (wide.casts.has("bfloat16")) return "lower";
  const narrow = probe(name, schema, device, Narrow.all);
  if (narrow.banned) return "banned";
  if (narrow.casts.has("float32")) return "float32";
  const mixed = probe(name, schema, device, Narrow.first);
  if (mixed.casts.has("float32")) return "promote";
  return schema.args.some((a) => a.name === "dtype") ? "setOptDtype" : "none";
}

const tables = new Map<string, ReadonlyMap<string, AutocastRule>>();

function probeRules(type: string, wanted: (name: string) => boolean): ReadonlyMap<string, AutocastRule> {
  const found = new Map<string, AutocastRule>();
  withoutWarnings(() => {
    for (const { name, overload } of kernelsOf(`Autocast${type.toUpperCase()}`)) {
      const short = name.replace(/^aten::/, "");
      if (!name.startsWith("aten::") || found.has(short) || !wanted(short)) continue;
      const schema = schemasOf(name).find((s) => s.overload === overload);
      if (schema !== undefined) found.set(short, ruleOf(short, schema, type));
    }
  });
  return found;
}

/** @internal libtorch's rules for some operators, which are asked alone where the table has not been made. */
export function libtorchRules(device: DeviceLike, names: readonly string[]): ReadonlyMap<string, AutocastRule> {
  const type = deviceOf(device, "amp").type;
  return tables.get(type) ?? probeRules(type, (name) => names.includes(name));
}

/**
 * libtorch's own autocast table of a device type, derived by calling each operator that has an autocast kernel with
 * small tensors and watching what is cast: never from a copied list, so it is right for the libtorch in use. By name
 * without `aten::`. Takes some 100 ms the first time.
 * @example policyTable("cpu").get("mm"); // "lower"
 * @throws {NbitError} `AMP_NO_DEVICE` for "cuda" where there is no GPU to ask.
 */
export function policyTable(device: DeviceLike = "cpu"): ReadonlyMap<string, AutocastRule> {
  atMost("policyTable", arguments, 1);
  const type = deviceOf(device, "amp.policyTable").type;
  if (type === "cuda" && cudaDeviceCount() === 0)
    throw new NbitError(
      'amp.policyTable: expected a CUDA device, whose autocast is asked. Received: none. Ask where there is one; the table of the CPU is policyTable("cpu").',
      "AMP_NO_DEVICE",
    );
  let table = tables.get(type);
  if (table === undefined) {
    table = probeRules(type, () => true);
    tables.set(type, table);
  }
  return table;
}
