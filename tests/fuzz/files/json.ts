/** Changes in JSON: values of other kinds, absurd numbers, missing, renamed, exchanged and doubled keys. */
import type { Random } from "./random.js";

/** A place in a value: the container, and the key in it. */
interface Place {
  readonly container: Record<string, unknown> | unknown[];
  readonly key: string | number;
}

function placesOf(root: unknown): Place[] {
  const places: Place[] = [];
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    const container = value as Record<string, unknown> | unknown[];
    const keys: (string | number)[] = Array.isArray(container) ? [...container.keys()] : Object.keys(container);
    for (const key of keys) {
      places.push({ container, key });
      visit(Reflect.get(container, key));
    }
  };
  visit(root);
  return places;
}

const special = (value: string): object => ({ $: "number", value });
const NUMBERS = [
  0,
  -1,
  1,
  2,
  0.5,
  -0.5,
  1e-300,
  1e308,
  -1e308,
  2 ** 31,
  -(2 ** 31),
  2 ** 32,
  2 ** 53,
  -(2 ** 53),
  1e21,
  9e15,
  255,
  256,
  65536,
];
const SPECIAL = ["NaN", "Infinity", "-Infinity", "-0", "nan", ""];
const TEXTS = [
  "",
  "x",
  "NaN",
  "0",
  "constructor",
  "__proto__",
  "toString",
  "../../x",
  "/etc/hostname",
  "\u001b[2J",
  "\u0000",
  "\ud800",
  "a\nb",
  "x".repeat(10_000),
  "float32",
  "cuda",
  "meta",
  "min",
  "last.ckpt",
];

/** A value that has no business where it will stand. `names` are those of tensors. */
export function strangeValue(random: Random, names: readonly string[]): unknown {
  switch (random.below(13)) {
    case 0:
    case 1:
    case 2:
      return random.pick(NUMBERS);
    case 3:
    case 4:
      return special(random.pick(SPECIAL));
    case 5:
      return random.pick(TEXTS);
    case 6:
      return random.pick([true, false, null]);
    case 7:
      return random.pick([[], {}, [[]], [1, 2, 3], { a: 1 }, { $: "undefined" }, { $: "later" }, { $: 7 }]);
    case 8:
      return random.pick([
        { $: "bigint", value: "12345678901234567890" },
        { $: "bigint", value: "-1" },
        { $: "bigint", value: "9".repeat(20_000) },
        { $: "map", entries: [] },
        { $: "set", values: [1] },
        { $: "object", entries: [["__proto__", { x: 1 }]] },
      ]);
    case 9:
      return {
        $: "tensor",
        name: names.length === 0 ? "none" : random.pick(names),
        ...(random.chance(0.2) ? { complex: random.pick(["complex128", "complex32", "x"]) } : {}),
      };
    case 10:
      return {
        $: "array",
        type: random.pick(["Float32Array", "Float64Array", "Uint8Array", "BigInt64Array", "toString"]),
        name: names.length === 0 ? "none" : random.pick(names),
      };
    case 11:
      return nested(random.pick([3, 100, 399, 500, 2000]), random.chance(0.5));
    default:
      return Array.from({ length: random.pick([1, 10, 1000]) }, () => random.pick(NUMBERS));
  }
}

function nested(levels: number, lists: boolean): unknown {
  let value: unknown = 1;
  for (let i = 0; i < levels; i++) value = lists ? [value] : { a: value };
  return value;
}

/** Change one thing in `root`, in place. */
export function mutateJson(root: unknown, random: Random, names: readonly string[] = []): void {
  const places = placesOf(root);
  if (places.length === 0) return;
  const { container, key } = random.pick(places);
  const present: unknown = Reflect.get(container, key);
  switch (random.below(9)) {
    case 0: // gone
      if (Array.isArray(container)) container.splice(Number(key), 1);
      else Reflect.deleteProperty(container, key);
      break;
    case 1: {
      // under another name
      if (Array.isArray(container)) container.push(present);
      else {
        Reflect.deleteProperty(container, key);
        Object.defineProperty(container, random.pick([`${key}x`, "__proto__", "constructor", "$", "", "0", "params"]), {
          value: present,
          enumerable: true,
          configurable: true,
          writable: true,
        });
      }
      break;
    }
    case 2: {
      // exchanged with another
      const other = random.pick(places);
      const theirs: unknown = Reflect.get(other.container, other.key);
      Reflect.set(other.container, other.key, structuredClone(present));
      Reflect.set(container, key, structuredClone(theirs));
      break;
    }
    case 3: // a list that is longer, or an object that knows more
      if (Array.isArray(present)) present.push(...structuredClone(present), strangeValue(random, names));
      else Reflect.set(container, key, strangeValue(random, names));
      break;
    case 4: // a number that is a little off
      Reflect.set(
        container,
        key,
        typeof present === "number"
          ? present + random.pick([1, -1, 0.5, 1000, -1000])
          : typeof present === "string"
            ? `${present}x`
            : strangeValue(random, names),
      );
      break;
    default:
      Reflect.set(container, key, strangeValue(random, names));
  }
}

/** A key of an object in JSON text, written a second time with another value. */
export function doubleKey(text: string, random: Random): string {
  const keys = [...text.matchAll(/([{,])("(?:[^"\\]|\\.)*"):/g)];
  if (keys.length === 0) return text;
  const found = random.pick(keys);
  const at = found.index + 1;
  return `${text.slice(0, at)}${found[2] ?? '""'}:${random.pick(["0", "null", '"x"', "[]", "{}", "-1", "[".repeat(100_000) + "]".repeat(100_000)])},${text.slice(at)}`;
}
