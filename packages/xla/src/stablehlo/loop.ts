/** Loops, and sorting: operations with regions of several values. */
import { need, typeOf, type Emitter } from "./emitter.js";
import { same, typeText, type Ssa } from "./types.js";

/**
 * `count` rounds of `body`, from the first values of what is carried. What does not change is carried too, as
 * `invariant`: a region names nothing outside.
 * @returns The carried values after the last round.
 */
export function loop(
  e: Emitter,
  count: number,
  carried: readonly Ssa[],
  invariant: readonly Ssa[],
  body: (round: Ssa, carried: readonly Ssa[], invariant: readonly Ssa[]) => readonly Ssa[],
): Ssa[] {
  const all = [e.full(0, "i32"), ...carried, ...invariant];
  const types = all.map(typeOf);
  const names = all.map(() => e.fresh());
  const inside = all.map((v, i): Ssa => ({ ...v, name: names[i] }));
  const signature = types.join(", ");
  const result = e.fresh();
  const head = names.map((name, i) => `${name} = ${all[i].name}`).join(", ");
  const condition = e.nested(() => {
    const more = e.compare("LT", inside[0], e.full(count, "i32"));
    e.line(`stablehlo.return ${more.name} : ${typeText("i1", [])}`);
  });
  const lines = e.nested(() => {
    const next = body(inside[0], inside.slice(1, carried.length + 1), inside.slice(carried.length + 1));
    need(next.length === carried.length, "a round of a loop that carries other values");
    next.forEach((v, i) =>
      need(v.element === carried[i].element && same(v.shape, carried[i].shape), "a round that changes a type"),
    );
    const rest = inside.slice(carried.length + 1);
    const returned = [e.add(inside[0], 1), ...next, ...rest];
    e.line(`stablehlo.return ${returned.map((v) => v.name).join(", ")} : ${signature}`);
  });
  e.line(`${result}:${all.length} = stablehlo.while(${head}) : ${signature}`);
  e.line("cond {");
  e.append(condition);
  e.line("} do {");
  e.append(lines);
  e.line(`}${e.location}`);
  return carried.map((v, i) => ({ ...v, name: `${result}#${i + 1}` }));
}

/** Values along a dimension in order, with where each was: equal ones keep their order. NaN is the greatest. */
export function sort(e: Emitter, a: Ssa, dim: number, descending: boolean): [Ssa, Ssa] {
  const index = e.iota("i64", a.shape, dim);
  const [x, y] = [typeText(a.element, []), typeText("i64", [])];
  const names = [e.fresh(), e.fresh(), e.fresh(), e.fresh()];
  const lines = e.nested(() => {
    const [left, right] = names.map((name): Ssa => ({ name, element: a.element, shape: [] }));
    const [first, second] = descending ? [right, left] : [left, right];
    let before = e.compare("LT", first, second);
    if (a.element.startsWith("f") || a.element === "bf16") {
      const [nan, other] = [e.compare("NE", second, second), e.compare("EQ", first, first)];
      before = e.binary("or", before, e.binary("and", nan, other));
    }
    e.line(`stablehlo.return ${before.name} : ${typeText("i1", [])}`);
  });
  const [xs, ys] = [typeOf(a), typeOf(index)];
  const result = e.fresh();
  e.line(`${result}:2 = "stablehlo.sort"(${a.name}, ${index.name}) <{dimension = ${dim} : i64, is_stable = true}> ({`);
  e.line(`^bb0(${names[0]}: ${x}, ${names[1]}: ${x}, ${names[2]}: ${y}, ${names[3]}: ${y}):`);
  e.append(lines);
  e.line(`}) : (${xs}, ${ys}) -> (${xs}, ${ys})${e.location}`);
  return [
    { ...a, name: `${result}#0` },
    { ...index, name: `${result}#1` },
  ];
}
