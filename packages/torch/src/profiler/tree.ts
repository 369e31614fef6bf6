/** Which events ran within which. */
import type { FunctionEvent } from "./event.js";

/** Sets parents and children: on each thread, an event is the child of the innermost that encloses it. */
export function buildTree(events: readonly FunctionEvent[]): FunctionEvent[] {
  const threads = new Map<number, FunctionEvent[]>();
  for (const event of events) {
    if (event.isAsync || event.deviceType !== "cpu") continue;
    const own = threads.get(event.thread);
    if (own === undefined) threads.set(event.thread, [event]);
    else own.push(event);
  }
  for (const own of threads.values()) {
    own.sort(byStart);
    const open: FunctionEvent[] = [];
    for (const event of own) {
      let parent = open.at(-1);
      while (
        parent !== undefined &&
        (event.timeRange.start >= parent.timeRange.end || event.timeRange.end > parent.timeRange.end)
      ) {
        open.pop();
        parent = open.at(-1);
      }
      if (parent !== undefined) {
        parent.cpuChildren.push(event);
        event.cpuParent = parent;
      }
      open.push(event);
    }
  }
  return withoutDoubles(events);
}

export function byStart(a: FunctionEvent, b: FunctionEvent): number {
  return a.timeRange.start - b.timeRange.start || b.timeRange.end - a.timeRange.end;
}

/** An operator that only hands on to one of the same name counts once: the inner one's children become the outer's. */
function withoutDoubles(events: readonly FunctionEvent[]): FunctionEvent[] {
  const doubles = new Set<FunctionEvent>();
  for (const event of events) {
    let only = event.cpuChildren.length === 1 ? event.cpuChildren[0] : undefined;
    while (only !== undefined && only.name === event.name && !doubles.has(event)) {
      doubles.add(only);
      event.cpuChildren = only.cpuChildren;
      event.kernels.push(...only.kernels);
      for (const child of event.cpuChildren) child.cpuParent = event;
      only = event.cpuChildren.length === 1 ? event.cpuChildren[0] : undefined;
    }
  }
  return doubles.size === 0 ? [...events] : events.filter((event) => !doubles.has(event));
}
