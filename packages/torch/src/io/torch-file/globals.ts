/** The names that a file of `torch.save` may use, and what each means here. Everything else is refused. */
import { Buffer } from "node:buffer";
import { Complex } from "../../ops/index.js";
import { device as deviceOf, isDType } from "../../tensor/index.js";
import { NbitError } from "../../errors.js";
import { quoted } from "../../plain-text.js";
import {
  Expect,
  PyDict,
  PyGlobal,
  PyList,
  PyMade,
  PySet,
  type GlobalSpec,
  type PickleFault,
  type PyValue,
} from "../pickle/values.js";
import type { FileFault } from "./errors.js";
import { numpyGlobals } from "./numpy-objects.js";
import { storageDtype } from "./storage.js";
import { REBUILD } from "./tensors.js";

type Made = (args: readonly PyValue[], expect: Expect) => PyValue;
const named = (name: string, make: Made): [string, GlobalSpec] => [
  name,
  { call: (args, fault) => make(args, new Expect(name, fault)) },
];

const dict =
  (ordered: boolean): Made =>
  ([given], expect) => {
    const made = new PyDict(ordered);
    if (given instanceof PyDict) for (const pair of given.entries) made.entries.push(pair);
    else if (given !== undefined)
      for (const pair of expect.tuple(given)) {
        const [key, value] = expect.tuple(pair);
        if (key === undefined || value === undefined) throw expect.fault("damaged", "expected pairs of a dict.");
        made.entries.push([key, value]);
      }
    return made;
  };
const emptyDict: Made = () => new PyDict();
const items = (args: readonly PyValue[], expect: Expect): PyValue[] =>
  args[0] === undefined ? [] : [...expect.tuple(args[0])];
const set: Made = (args, expect) => new PySet(items(args, expect));

/** Objects whose fields are all there is to them: they become plain ones. */
const RECORDS = [
  "argparse.Namespace",
  "types.SimpleNamespace",
  "lightning.fabric.utilities.data.AttributeDict",
  "lightning.pytorch.utilities.parsing.AttributeDict",
  "lightning_fabric.utilities.data.AttributeDict",
  "pytorch_lightning.utilities.parsing.AttributeDict",
];
/** Paths become texts. */
const PATHS: Readonly<Record<string, string>> = {
  PosixPath: "/",
  PurePosixPath: "/",
  Path: "/",
  WindowsPath: "\\",
  PureWindowsPath: "\\",
};
/** Types that stand as values, or that others are made from, and do nothing. */
const INERT = ["object", "int", "float", "str", "bool", "tuple"].map((name) => `builtins.${name}`);

function path(separator: string): Made {
  return (args, expect) => {
    const parts = args.map((part) => expect.text(part));
    return parts.length > 0 && (parts[0] === "/" || parts[0]?.endsWith("\\") === true)
      ? `${parts[0]}${parts.slice(1).join(separator)}`
      : parts.join(separator);
  };
}

/** A device by its type and index, or by its name; what is no device here is a text. */
const device: Made = ([type, index], expect) => {
  const name = index === undefined || index === null ? expect.text(type) : `${expect.text(type)}:${expect.int(index)}`;
  return new PyMade("a device", () => {
    try {
      return deviceOf(name);
    } catch (error) {
      if (error instanceof NbitError) return name;
      throw error;
    }
  });
};
/** A text that pickles of protocol 2 use for bytes: one character each. */
const encode: Made = ([text, encoding], expect) => {
  const name = encoding === undefined ? "latin1" : expect.text(encoding);
  if (!/^latin-?1$/.test(name)) throw expect.fault("damaged", `expected latin1. Received: ${quoted(name)}.`);
  return new Uint8Array(Buffer.from(expect.text(text), "latin1"));
};
const byteArray: Made = ([given], expect) =>
  given instanceof Uint8Array ? given : given === undefined ? new Uint8Array(0) : encode([given], expect);
const complex: Made = ([re, im], expect) => {
  if (typeof re !== "number" || typeof im !== "number") throw expect.fault("damaged", "expected a complex number.");
  return new PyMade("a complex number", () => new Complex(re, im));
};
/** How objects of protocols 0 and 1 come to be. */
const reconstructor: Made = ([type], expect) => {
  const made = expect.global(type).spec.call?.([], expect.fault);
  if (made === undefined) throw expect.fault("damaged", `expected a class that has objects. Received: ${expect.name}.`);
  return made;
};

const PLAIN: readonly [string, GlobalSpec][] = [
  named("collections.OrderedDict", dict(true)),
  named("collections.Counter", dict(false)),
  named("collections.defaultdict", emptyDict),
  named("builtins.dict", dict(false)),
  named("builtins.list", (args, expect) => new PyList(items(args, expect))),
  named("builtins.set", set),
  named("builtins.frozenset", set),
  named("builtins.bytearray", byteArray),
  named("builtins.bytes", byteArray),
  named("builtins.complex", complex),
  named("_codecs.encode", encode),
  named("copyreg._reconstructor", reconstructor),
  named("torch.Size", (args, expect) => {
    const sizes = expect.sizes(args[0]);
    return new PyMade("a size", () => sizes);
  }),
  named("torch.device", device),
  named("torch.serialization._get_layout", ([layout], expect) => {
    const name = expect.text(layout);
    return new PyMade("a layout", () => name);
  }),
  named("torch.torch_version.TorchVersion", ([version], expect) => expect.text(version)),
  ...RECORDS.map((name) => named(name, emptyDict)),
  ...Object.entries(PATHS).map(([name, separator]) => named(`pathlib.${name}`, path(separator))),
  ...Object.entries(PATHS).map(([name, separator]) => named(`pathlib._local.${name}`, path(separator))),
  ...INERT.map((name): [string, GlobalSpec] => [name, {}]),
  ...["torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"].map((name): [string, GlobalSpec] => [
    name,
    {},
  ]),
];

/** Python 2's names, and those that moved. */
const MOVED: Readonly<Record<string, string>> = {
  __builtin__: "builtins",
  copy_reg: "copyreg",
  "torch.tensor": "torch._tensor",
};

/** The names that this file may use. */
export class TorchGlobals {
  readonly #known: ReadonlyMap<string, GlobalSpec>;
  readonly #made = new Map<string, PyGlobal>();
  readonly #fault: FileFault;

  constructor(fault: FileFault) {
    this.#fault = fault;
    const rebuild = Object.entries(REBUILD).map(([name, make]): [string, GlobalSpec] => [
      name,
      { call: (args, pickle: PickleFault) => new PyMade("a tensor", make(args, new Expect(name, pickle), fault)) },
    ]);
    this.#known = new Map([...PLAIN, ...rebuild, ...Object.entries(numpyGlobals(fault))]);
  }

  /** @throws {TorchFileError} `TORCH_FILE_GLOBAL` for one that is not read. */
  get(module: string, name: string): PyGlobal {
    const full = `${MOVED[module] ?? module}.${name}`;
    let found = this.#made.get(full);
    if (found === undefined) {
      const spec = this.#known.get(full) ?? torchName(module, name);
      if (spec === null) throw this.#refuse(full);
      this.#made.set(full, (found = new PyGlobal(full, spec)));
    }
    return found;
  }

  #refuse(full: string): Error {
    if (/^torch\.Q\w+Storage$|^torch\.per_(tensor|channel)_/.test(full))
      return this.#fault(
        "TORCH_FILE_DTYPE",
        "expected tensors that are not quantized. In Python, save x.dequantize().",
      );
    const whole = /^(torch\.nn\.|torchvision\.|__main__\.)/.test(full)
      ? ' A whole module was saved: in Python, save its state_dict() instead, torch.save(torch.load(path, weights_only=False).state_dict(), "state.pt").'
      : " Nothing of a file is run here. If you trust it, load it in Python with weights_only=False, and save tensors, numbers and texts.";
    return this.#fault("TORCH_FILE_GLOBAL", `expected tensors and plain values. Received: ${quoted(full)}.${whole}`);
  }
}

/** Dtypes and classes of storages, on whatever device; quantized ones are not among them. */
function torchName(module: string, name: string): GlobalSpec | null {
  if (module === "torch" && isDType(name) && !/^q(int|uint)/.test(name)) return { value: name };
  if (/^torch(\.\w+)?$/.test(module) && name.endsWith("Storage") && storageDtype(name) !== undefined)
    return { value: name };
  // Types of old tensors, which stand beside what makes one.
  if (/^torch(\.\w+)?$/.test(module) && /^[A-Z]\w+Tensor$/.test(name) && storageDtype(`${name.slice(0, -6)}Storage`))
    return {};
  return null;
}
