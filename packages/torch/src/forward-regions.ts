/**
 * Code that runs a second time, later, is to run as it did at first: in the same autocast region, with the same default
 * dtype, and so on. Each kind of region says here how it is entered again.
 */

/** Runs `fn` in a region. */
export type Enter = <T>(fn: () => T) => T;

const kinds: (() => Enter | null)[] = [];

/** @internal A kind of region. `capture` returns how to enter the one that is open now; null where none is. */
export function addForwardRegion(capture: () => Enter | null): void {
  kinds.push(capture);
}

/** @internal How to enter all regions that are open now. */
export function captureForwardRegions(): Enter {
  const open = kinds.map((capture) => capture()).filter((enter) => enter !== null);
  return <T>(fn: () => T): T => open.reduceRight((inner: () => T, enter) => () => enter(inner), fn)();
}
