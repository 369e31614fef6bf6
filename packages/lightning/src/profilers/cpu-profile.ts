/** V8's sampling profiler, and what it saw between two times. */
import { Session } from "node:inspector";

/** A function of a profile; `children` are ids of others. */
export interface ProfileNode {
  readonly id: number;
  readonly callFrame: {
    readonly functionName: string;
    readonly url: string;
    readonly lineNumber: number;
    readonly columnNumber: number;
  };
  readonly children?: readonly number[];
}
/** What a `.cpuprofile` file holds. Times are in microseconds of the machine's monotonic clock. */
export interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  readonly startTime: number;
  readonly endTime: number;
  readonly samples?: readonly number[];
  readonly timeDeltas?: readonly number[];
}

/** Microseconds of the clock that V8's samples have. */
export function now(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

/** Samples this thread's stack from `start` to `stop`. Costs a few percent of the time, and memory by its length. */
export class CpuSampler {
  #session: Session | null = null;

  /** @param interval - Microseconds between samples. */
  start(interval: number): void {
    if (this.#session !== null) return;
    const session = new Session();
    session.connect();
    session.post("Profiler.enable");
    session.post("Profiler.setSamplingInterval", { interval });
    session.post("Profiler.start");
    this.#session = session;
  }
  /** What was sampled; null where nothing ran. Answers at once: the session is with this very thread. */
  stop(): CpuProfile | null {
    const session = this.#session;
    if (session === null) return null;
    this.#session = null;
    let profile: CpuProfile | null = null;
    session.post("Profiler.stop", (error: Error | null, result: { readonly profile: CpuProfile }) => {
      if (error === null) profile = result.profile;
    });
    session.disconnect();
    return profile;
  }
}

export interface FunctionTime {
  readonly name: string;
  /** File and line; "" for what the engine does itself. */
  readonly place: string;
  /** Microseconds in the function itself, and with what it called. */
  readonly own: number;
  readonly total: number;
}
/** From and to, in microseconds. */
export type Interval = readonly [number, number];

/**
 * Functions by the time that samples within the intervals show, longest first.
 * @param intervals - In their order, and apart from each other.
 * @param without - Places of functions that are not listed.
 */
export function functionsWithin(profile: CpuProfile, intervals: readonly Interval[], without: RegExp): FunctionTime[] {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map<number, number>();
  for (const { id, children } of profile.nodes) for (const child of children ?? []) parents.set(child, id);
  const own = new Map<number, number>();
  const { samples = [], timeDeltas = [] } = profile;
  let time = profile.startTime;
  let at = 0;
  samples.forEach((id, i) => {
    time += timeDeltas[i] ?? 0;
    const length = timeDeltas[i + 1] ?? 0;
    while (at < intervals.length && (intervals[at] as Interval)[1] < time) at++;
    const interval = intervals[at];
    if (interval !== undefined && time >= interval[0]) own.set(id, (own.get(id) ?? 0) + length);
  });
  const functions = new Map<string, { name: string; place: string; own: number; total: number }>();
  for (const [id, spent] of own) {
    const seen = new Set<string>();
    for (let node: number | undefined = id; node !== undefined; node = parents.get(node)) {
      const frame = nodes.get(node)?.callFrame;
      if (frame === undefined || frame.functionName === "(root)" || without.test(frame.url)) continue;
      const place = frame.url === "" ? "" : `${frame.url.replace(/^file:\/\//, "")}:${frame.lineNumber + 1}`;
      const name = frame.functionName === "" ? "(anonymous)" : frame.functionName;
      const key = `${name} ${place}`;
      let known = functions.get(key);
      if (known === undefined) functions.set(key, (known = { name, place, own: 0, total: 0 }));
      if (node === id) known.own += spent;
      // A function that calls itself counts once.
      if (!seen.has(key)) known.total += spent;
      seen.add(key);
    }
  }
  return [...functions.values()].sort((a, b) => b.total - a.total);
}
