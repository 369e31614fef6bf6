/**
 * What memory holds, as values that are assigned once.
 *
 * The program writes in place and looks at memory through views. Here a buffer's memory is a value, and views are read
 * from it when they are asked for. A write makes a new value of the memory, and every view that was read before is
 * forgotten.
 */
import type { Emitter } from "../stablehlo/emitter.js";
import { need } from "../stablehlo/emitter.js";
import { bitsOf, sizeOf, type Element, type Ssa } from "../stablehlo/types.js";
import { covers, endOf, inMemoryOrder, overlaps, read, write, type Strided } from "./strided.js";

/** A value of the recorded program, as memory sees it. */
export interface Place extends Strided {
  readonly buffer: number;
  readonly element: Element;
}

/** Values that share memory lie in one region: the part of a buffer that they reach. */
export class Region {
  /** In bytes of the buffer. */
  constructor(
    readonly buffer: number,
    readonly begin: number,
    readonly end: number,
  ) {}
  /** All elements in order, in some shape; made when it is asked for. Null: nothing is there yet. */
  content: (() => Ssa) | null = null;
  /** Views of what is there now. */
  readonly views = new Map<number, () => Ssa>();
  /** What an operator left for another that knows it, by value. */
  readonly asides = new Map<number, readonly Ssa[]>();
}

export class Memory {
  readonly #regions: (Region | null)[];
  readonly #places: readonly Place[];

  constructor(places: readonly Place[]) {
    this.#places = places;
    this.#regions = regionsOf(places);
  }

  /** Null: the value has no elements. */
  region(value: number): Region | null {
    return this.#regions[value];
  }
  /** Whether an operator, or what was before the step, has made the memory of a value. */
  isThere(value: number): boolean {
    return this.#regions[value]?.content !== null;
  }
  /** The view of a value in its region, in its own elements. */
  view(value: number): Strided {
    const place = this.#places[value];
    const [region, bytes] = [this.#regions[value], bitsOf(place.element) / 8];
    return { ...place, offset: place.offset - (region?.begin ?? 0) / bytes };
  }
  /** From its first to past its last element, in its region; null: it has none. */
  span(value: number): { readonly region: Region; readonly begin: number; readonly end: number } | null {
    const region = this.#regions[value];
    const view = this.view(value);
    return region === null ? null : { region, begin: view.offset, end: endOf(view) };
  }
  length(region: Region, element: Element): number {
    return (region.end - region.begin) / (bitsOf(element) / 8);
  }

  read(e: Emitter, value: number): Ssa {
    const [place, region] = [this.#places[value], this.#regions[value]];
    if (region === null) return e.full(0, place.element, place.shape);
    const known = region.views.get(value);
    if (known !== undefined) return known();
    need(region.content !== null, `value ${value} is read before it was made`);
    const made = read(e, asElement(e, region.content(), place.element), this.view(value));
    region.views.set(value, () => made);
    return made;
  }

  /** What an operator made or wrote, in the value's shape; a function where it is only made if somebody asks. */
  write(e: Emitter, value: number, content: () => Ssa): void {
    const [place, region] = [this.#places[value], this.#regions[value]];
    if (region === null) return;
    const view = this.view(value);
    const length = this.length(region, place.element);
    if (covers(view, length)) {
      region.content = once(() => inMemoryOrder(e, view, content()));
    } else {
      need(!overlaps(view), `value ${value} is written, and its own elements overlap`);
      const before =
        region.content === null ? e.full(0, place.element, [length]) : asElement(e, region.content(), place.element);
      const after = write(e, before, view, content());
      region.content = () => after;
    }
    region.views.clear();
    region.asides.clear();
    region.views.set(value, content);
  }
}

function once<T>(make: () => T): () => T {
  let made: T | null = null;
  return () => (made ??= make());
}

/** Memory as elements of another type: the same bytes. */
function asElement(e: Emitter, memory: Ssa, element: Element): Ssa {
  if (memory.element === element) return memory;
  need(memory.element !== "i1" && element !== "i1", `memory of ${memory.element} is looked at as ${element}`);
  const [from, to, length] = [bitsOf(memory.element), bitsOf(element), sizeOf(memory.shape)];
  const flat = e.reshape(memory, from < to ? [(length * from) / to, to / from] : [length]);
  const shape = from > to ? [length, from / to] : [(length * from) / to];
  return e.reshape(e.bits(flat, element, shape), [(length * from) / to]);
}

/** The parts of buffers that values reach, joined where they meet. */
function regionsOf(places: readonly Place[]): (Region | null)[] {
  const reached = places
    .map((place, value) => {
      const bytes = bitsOf(place.element) / 8;
      return { value, buffer: place.buffer, begin: place.offset * bytes, end: endOf(place) * bytes };
    })
    .filter(({ value }) => sizeOf(places[value].shape) > 0)
    .sort((a, b) => a.buffer - b.buffer || a.begin - b.begin);
  const regions: (Region | null)[] = places.map(() => null);
  for (let i = 0; i < reached.length;) {
    const { buffer, begin } = reached[i];
    let [end, next] = [reached[i].end, i + 1];
    while (next < reached.length && reached[next].buffer === buffer && reached[next].begin < end)
      end = Math.max(end, reached[next++].end);
    const region = new Region(buffer, begin, end);
    for (; i < next; i++) regions[reached[i].value] = region;
  }
  return regions;
}
