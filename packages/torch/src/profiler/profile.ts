/** Recording what a program does, as torch.profiler.profile. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { memory } from "../tensor/memory.js";
import * as cuda from "../cuda/index.js";
import { ArgumentError, NbitError, verbatim } from "../errors.js";
import { checkPath, withFile } from "../io/errors.js";
import { writeText } from "../io/replace.js";
import { filled, oneOf, text } from "../kinds.js";
import { native } from "../native.js";
import { ModuleCalls } from "../nn/module-calls.js";
import { Module } from "../nn/module.js";
import { atMost, checkArguments, checkOptions } from "../options.js";
import { isPromise } from "../synchronous.js";
import { endAtExit } from "./at-exit.js";
import { EventList, readKeys, type AverageList, type KeyAveragesCall, type StackMetric } from "./event-list.js";
import type { FunctionEvent } from "./event.js";
import { timelineHtml, timelineOf, type MemoryTimeline } from "./memory-timeline.js";
import { ACTIVITY_BITS, PROFILE, type ProfileOptionsOf, type ProfilerActivity } from "./options.js";
import { parseTrace, type MemoryRecord, type RawEvent } from "./parse.js";
import { RecordFunction } from "./record-function.js";
import { ACTIONS, ProfilerAction } from "./schedule.js";
import { StackWatch } from "./stacks.js";
import { addMetadata, addStacks, copyTrace } from "./trace-file.js";

/** What can be observed here: the CPU, and GPUs where libtorch was built for them and one works. */
export function supportedActivities(): Set<ProfilerActivity> {
  atMost("supportedActivities", arguments, 0);
  const bits = native.profilerActivities();
  const all: ProfilerActivity[] = ["cpu"];
  if ((bits & ACTIVITY_BITS.cuda) !== 0 && cuda.isAvailable()) all.push("cuda");
  return new Set(all);
}

const isRecording = (action: ProfilerAction): boolean =>
  action === ProfilerAction.RECORD || action === ProfilerAction.RECORD_AND_SAVE;

/** What a profiler is told to do. */
export type ProfileOptions = ProfileOptionsOf<Profile>;

/** A recorded cycle. */
interface Recorded {
  readonly events: readonly FunctionEvent[];
  readonly memory: readonly MemoryRecord[];
  /** Bytes of CPU tensors and of those on the GPU when it began. */
  readonly cpuBytes: number;
  readonly cudaBytes: number;
  /** Where the trace file lies; null: the addon still holds it. */
  file: string | null;
}

/**
 * Records operators, their times, memory and shapes, and kernels on GPUs: libtorch's own profiler (Kineto), as under
 * torch.profiler. One runs at a time in a process. Made by {@link profile}.
 */
export class Profile {
  readonly #options: ProfileOptions;
  readonly #activities: number;
  #action: ProfilerAction;
  #running = false;
  #phase: "off" | "prepared" | "on" = "off";
  #stepNum = 0;
  #step: RecordFunction | null = null;
  #stacks: StackWatch | null = null;
  #modules: ModuleCalls[] = [];
  #ranges: RecordFunction[] = [];
  #base = { cpuBytes: 0, cudaBytes: 0 };
  #recorded: Recorded | null = null;
  #metadata = new Map<string, string>();

  /** @internal */
  constructor(options: ProfileOptions) {
    checkOptions("profile", options, PROFILE);
    const supported = supportedActivities();
    const activities = new Set(options.activities ?? supported);
    for (const activity of activities)
      if (!supported.has(activity))
        throw new ArgumentError(
          "profile",
          `activities among ${[...supported].join(", ")}, which this machine has`,
          activity,
        );
    if (activities.size === 0) throw new ArgumentError("profile", "activities to name at least one", []);
    this.#options = options;
    this.#activities = [...activities].reduce((bits, activity) => bits | ACTIVITY_BITS[activity], 0);
    this.#action = this.#actionAt(0);
  }

  /** The step of the schedule, from 0. */
  get stepNum(): number {
    return this.#stepNum;
  }
  /** What it does in the present step. */
  get currentAction(): ProfilerAction {
    return this.#action;
  }

  #actionAt(step: number): ProfilerAction {
    const action: unknown = this.#options.schedule?.(step) ?? ProfilerAction.RECORD;
    if (!ACTIONS.includes(action as ProfilerAction))
      throw new ArgumentError(
        "profile",
        "schedule to return a ProfilerAction",
        action,
        "See schedule({ wait, warmup, active }).",
      );
    return action as ProfilerAction;
  }

  /** Begin. @returns This: `using p = profile().start()`. @throws {TorchError} `PROFILER_NESTED` where another runs. */
  start(): this {
    atMost("Profile.start", arguments, 0);
    if (this.#running)
      throw new NbitError(
        "Profile.start: expected a profiler that is stopped. Received: one that runs.",
        "PROFILER_STATE",
      );
    this.#enter(this.#action);
    this.#running = true;
    this.#openStep();
    return this;
  }
  /** End; what was recorded stays. Does nothing where it has ended. */
  stop(): void {
    atMost("Profile.stop", arguments, 0);
    if (!this.#running) return;
    this.#closeStep();
    this.#running = false;
    const was = this.#action;
    const recorded = this.#leave();
    if (recorded || isRecording(was)) this.#options.onTraceReady?.(this);
  }
  /** The next step of the schedule begins. */
  step(): void {
    atMost("Profile.step", arguments, 0);
    if (!this.#running)
      throw new NbitError("Profile.step: expected a profiler that runs. Call start() first.", "PROFILER_STATE");
    this.#closeStep();
    const before = this.#action;
    this.#action = this.#actionAt(this.#stepNum + 1);
    this.#stepNum++;
    // A cycle that went on recording until it is saved is one trace; what follows is the next.
    const cycleEnds = before === ProfilerAction.RECORD_AND_SAVE;
    if (cycleEnds || !isRecording(this.#action)) {
      const recorded = this.#phase === "on" && this.#leave();
      if (recorded && cycleEnds) this.#options.onTraceReady?.(this);
    }
    this.#enter(this.#action);
    this.#openStep();
  }
  [Symbol.dispose](): void {
    this.stop();
  }

  #openStep(): void {
    if (this.#options.schedule !== undefined) this.#step = new RecordFunction(`ProfilerStep#${this.#stepNum}`);
  }
  #closeStep(): void {
    this.#step?.end();
    this.#step = null;
  }

  /** From where it is to what an action asks for. */
  #enter(action: ProfilerAction): void {
    if (action === ProfilerAction.NONE) {
      if (this.#phase === "prepared") this.#leave();
      return;
    }
    if (this.#phase === "off") {
      const { recordShapes = false, profileMemory = false, withFlops = false } = this.#options;
      native.profilerPrepare(
        this.#activities,
        // FLOPs are estimated from shapes, which libtorch then keeps.
        (recordShapes || withFlops ? 1 : 0) | (profileMemory ? 2 : 0) | (withFlops ? 4 : 0),
      );
      this.#release = endAtExit();
      this.#phase = "prepared";
    }
    if (isRecording(action) && this.#phase === "prepared") this.#begin();
  }
  #begin(): void {
    this.#base = {
      cpuBytes: memory().bytes,
      cudaBytes: (this.#activities & ACTIVITY_BITS.cuda) === 0 ? 0 : cuda.memoryAllocated(),
    };
    native.profilerStart();
    this.#phase = "on";
    if (this.#options.withStack === true) this.#stacks = StackWatch.begin();
    const { withModules = false } = this.#options;
    for (const model of withModules === false ? [] : withModules instanceof Module ? [withModules] : withModules)
      this.#modules.push(
        new ModuleCalls(model, model.constructor.name, {
          enter: (name) => void this.#ranges.push(new RecordFunction(`nn.Module: ${name}`)),
          leave: () => this.#ranges.pop()?.end(),
        }),
      );
  }
  /** Of the end of the process, where it runs. */
  #release: (() => void) | null = null;
  /** Ends what runs. @returns Whether something was recorded. */
  #leave(): boolean {
    const was = this.#phase;
    this.#phase = "off";
    for (const calls of this.#modules.splice(0).reverse()) calls.stop();
    for (const range of this.#ranges.splice(0).reverse()) range.end();
    const stacks = this.#stacks;
    this.#stacks = null;
    stacks?.end();
    const stopped = native.profilerStop();
    this.#release?.();
    this.#release = null;
    const raw = JSON.parse(stopped) as { readonly events: readonly RawEvent[] };
    if (was !== "on") return false;
    const { events, memory: records } = parseTrace(raw.events);
    stacks?.attribute(events);
    if (this.#options.withModules !== undefined && this.#options.withModules !== false) nameModules(events);
    const earlier = this.#options.accEvents === true ? (this.#recorded?.events ?? []) : [];
    this.#forgetFile();
    this.#recorded = { events: [...earlier, ...events], memory: records, ...this.#base, file: null };
    return true;
  }

  // ---------------------------------------------------------------- what was recorded

  /** Whether there is something to look at. */
  get hasRecorded(): boolean {
    return this.#recorded !== null;
  }
  #ended(fn: string): Recorded {
    if (this.#recorded !== null) return this.#recorded;
    throw new NbitError(
      `${fn}: expected a profiler that has recorded. Received: one that ${this.#running ? "runs" : "has not run"}. Call ${this.#running ? "stop()" : "start()"} first.`,
      "PROFILER_STATE",
    );
  }
  /** Every event of the latest cycle. */
  events(): EventList {
    atMost("Profile.events", arguments, 0);
    const { events } = this.#ended("Profile.events");
    const device = (this.#activities & ACTIVITY_BITS.cuda) !== 0 ? "cuda" : null;
    return new EventList(events, {
      device,
      memory: this.#options.profileMemory === true,
      flops: this.#options.withFlops === true,
    });
  }
  /** Sums by operator: `prof.keyAverages().table({ sortBy: "selfCpuTimeTotal", rowLimit: 10 })`. */
  keyAverages(...given: KeyAveragesCall): AverageList {
    readKeys(given);
    return this.events().keyAverages(...given);
  }
  /**
   * Write the trace as a file that Perfetto (https://ui.perfetto.dev), chrome://tracing and TensorBoard's plugin open;
   * compressed where the path ends with `.gz`. Libtorch writes it, so it is what PyTorch's would be; with `withStack`,
   * operators have the program's lines as their `Call stack`.
   */
  exportChromeTrace(path: string): void {
    atMost("exportChromeTrace", arguments, 1);
    checkPath("exportChromeTrace", path);
    const recorded = this.#ended("exportChromeTrace");
    if (recorded.file === null || !existsSync(recorded.file)) recorded.file = this.#saveTrace(recorded);
    const from = recorded.file;
    withFile("exportChromeTrace", "write", path, () => copyTrace(from, path));
  }
  #saveTrace({ events }: Recorded): string {
    const file = join(mkdtempSync(join(tmpdir(), "nbit-trace-")), "trace.json");
    native.profilerSave(file);
    if (this.#options.withStack === true) addStacks(file, events);
    if (this.#metadata.size > 0) addMetadata(file, this.#metadata);
    return file;
  }
  #forgetFile(): void {
    const file = this.#recorded?.file ?? null;
    if (file !== null) rmSync(dirname(file), { recursive: true, force: true });
  }
  /** See {@link EventList.exportStacks}. */
  exportStacks(path: string, metric: StackMetric = "self_cpu_time_total"): void {
    atMost("exportStacks", arguments, 2);
    this.events().exportStacks(path, metric);
  }
  /**
   * Bytes of tensors on a device over time, from the allocations that were seen. Needs `profileMemory`.
   * @param device - "cpu" (default), "cuda" or "cuda:1".
   */
  memoryTimeline(device = "cpu"): MemoryTimeline {
    atMost("memoryTimeline", arguments, 1);
    checkArguments("memoryTimeline", { device }, { device: filled });
    if (this.#options.profileMemory !== true)
      throw new ArgumentError("memoryTimeline", "a profiler with profileMemory: true", verbatim("one without"));
    const recorded = this.#ended("memoryTimeline");
    return timelineOf(recorded.memory, device, device === "cpu" ? recorded.cpuBytes : recorded.cudaBytes);
  }
  /** Write {@link memoryTimeline}: as a page with its curve where the path ends with `.html`, else as JSON. */
  exportMemoryTimeline(path: string, device = "cpu"): void {
    atMost("exportMemoryTimeline", arguments, 2);
    checkArguments("exportMemoryTimeline", { device }, { device: filled });
    checkPath("exportMemoryTimeline", path);
    const timeline = this.memoryTimeline(device);
    writeText(
      "exportMemoryTimeline",
      path,
      path.endsWith(".html") ? timelineHtml(timeline) : `${JSON.stringify(timeline)}\n`,
    );
  }
  /** A text that the trace file is to hold. */
  addMetadata(key: string, value: string): void {
    atMost("addMetadata", arguments, 2);
    checkArguments("addMetadata", { key, value }, { key: filled, value: text });
    this.#metadata.set(key, JSON.stringify(value));
  }
  /** The same for a value that is JSON already. */
  addMetadataJson(key: string, value: string): void {
    atMost("addMetadataJson", arguments, 2);
    checkArguments("addMetadataJson", { key, value }, { key: filled, value: filled });
    try {
      JSON.parse(value);
    } catch {
      throw new ArgumentError("addMetadataJson", "value to be JSON", value);
    }
    this.#metadata.set(key, value);
  }
  /** Stop observing the CPU or the GPU, or go on, while the profiler runs. */
  toggleCollectionDynamic(enable: boolean, activities: readonly ProfilerActivity[]): void {
    atMost("toggleCollectionDynamic", arguments, 2);
    checkArguments("toggleCollectionDynamic", { enable, activities }, { enable: FLAG, activities: PROFILE.activities });
    const bits = activities.reduce((all, activity) => all | ACTIVITY_BITS[activity], 0);
    if (this.#phase === "on" && bits !== 0) native.profilerToggle(enable, bits);
  }
}
const FLAG = oneOf(true, false);

/** Which modules' ranges an event lies in. */
function nameModules(events: readonly FunctionEvent[]): void {
  const prefix = "nn.Module: ";
  for (const event of events) {
    const names: string[] = [];
    for (let at = event.cpuParent; at !== null; at = at.cpuParent)
      if (at.name.startsWith(prefix)) names.unshift(at.name.slice(prefix.length));
    event.moduleHierarchy = names;
  }
}

/**
 * Profile: what ran, how long, with which shapes and memory.
 *
 * With `fn` (first or behind the options), it records while `fn` runs, also where that returns a promise. Without it,
 * call `start()` and `stop()`, or `using p = profile(options).start()`.
 *
 * @example
 * const prof = profile({ recordShapes: true }, () => model.forward(x));
 * console.log(prof.keyAverages().table({ sortBy: "cpuTimeTotal", rowLimit: 10 }));
 * prof.exportChromeTrace("trace.json"); // open in https://ui.perfetto.dev
 */
export function profile(options?: ProfileOptions): Profile;
export function profile<T>(options: ProfileOptions, fn: (prof: Profile) => Promise<T>): Promise<Profile>;
export function profile(options: ProfileOptions, fn: (prof: Profile) => unknown): Profile;
export function profile<T>(fn: (prof: Profile) => Promise<T>): Promise<Profile>;
export function profile(fn: (prof: Profile) => unknown): Profile;
export function profile(
  first: ProfileOptions | ((prof: Profile) => unknown) = {},
  second?: (prof: Profile) => unknown,
): Profile | Promise<Profile> {
  const [options, fn] = typeof first === "function" ? [{}, first] : [first, second];
  atMost("profile", arguments, typeof first === "function" ? 1 : 2);
  if (fn !== undefined && typeof fn !== "function") throw new ArgumentError("profile", "fn to be a function", fn);
  const made = new Profile(options);
  if (fn === undefined) return made;
  made.start();
  let waits = false;
  try {
    const result = fn(made);
    waits = isPromise(result);
    return waits
      ? Promise.resolve(result)
          .finally(() => made.stop())
          .then(() => made)
      : made;
  } finally {
    if (!waits) made.stop();
  }
}
