/** The processes that train together, and groups of them. */
import { ArgumentError, DistributedError } from "../errors.js";
import { info, native } from "../native.js";
import { filled, flag, iterable, oneOf, text, whole } from "../kinds.js";
import { atMost, checkArguments, checkOptions, type OptionNames } from "../options.js";
import { isError } from "../realm.js";
import { optionLines, whenDone } from "./native-calls.js";
import { rendezvous } from "./rendezvous.js";

/** Who carries collectives: gloo those of tensors on the CPU, NCCL those on CUDA. */
export type Backend = "gloo" | "nccl" | "cpu:gloo,cuda:nccl";

/** Processes that call collectives together. The ranks of its members are those in the world. */
export class ProcessGroup {
  /** @internal Use {@link newGroup}. */
  constructor(
    readonly name: string,
    readonly ranks: readonly number[],
    /** This process's place among the members. */
    readonly rank: number,
    readonly backend: Backend,
    /** Ranks compare each collective before they begin it. */
    readonly verify: boolean,
  ) {}

  get size(): number {
    return this.ranks.length;
  }
}

export interface InitProcessGroupOptions {
  /** Default: gloo, and NCCL for CUDA tensors where this libtorch has it. */
  readonly backend?: Backend;
  /** `env://` (default): what a launcher has set; `tcp://host:port`: rank 0 listens there. */
  readonly initMethod?: string;
  /** Default: the launcher's `RANK`, `WORLD_SIZE`. Both or neither. */
  readonly rank?: number;
  readonly worldSize?: number;
  /** How long a collective may wait for the others, in ms. Default 600,000. */
  readonly timeout?: number;
  /** How long a rank may give no sign of life, in ms, before it counts as lost. Default 10,000. */
  readonly heartbeatTimeout?: number;
  /** How long to wait for all ranks to come, in ms. Default 300,000. */
  readonly connectTimeout?: number;
  /**
   * Compare what all ranks are about to do before each collective of this module on the CPU: a mismatch is an error on
   * every rank. gloo alone would end the process or add up what does not belong together. Costs about 0.1 ms a call
   * within a machine. Default true with gloo, false with NCCL.
   */
  readonly verify?: boolean;
}
const backends = oneOf("gloo", "nccl", "cpu:gloo,cuda:nccl");
const OPTIONS: OptionNames<InitProcessGroupOptions> = {
  backend: backends,
  initMethod: filled,
  rank: whole("[0, ∞)"),
  worldSize: whole("[1, ∞)"),
  timeout: whole("[1, 1000000000]"),
  heartbeatTimeout: whole("[1000, 1000000000]"),
  connectTimeout: whole("[1, 1000000000]"),
  verify: flag,
};

export const DEFAULT_TIMEOUT = 600_000;

interface World {
  readonly group: ProcessGroup;
  readonly groups: Map<string, ProcessGroup>;
  readonly timeout: number;
  readonly fake: boolean;
  /** Groups that ranks made so far, members or not: the same everywhere, so names agree. */
  made: number;
}
let world: World | null = null;
let connecting = false;
/** A leaving that has begun. */
let leaving: Promise<void> = Promise.resolve();

const FN = "initProcessGroup";

/**
 * Join the processes that were started together. Resolves when all are there; until then nothing blocks.
 *
 * A process that dies, hangs or does something else than the others is an error on all of them (`DistributedError`), never the end of a process and never a wait beyond `timeout`: every rank tells the others five
 * times a second where it is.
 *
 * @param backend - A {@link Backend}, or the options.
 * @throws {DistributedError} ERR_DIST_CONNECT, ERR_DIST_ADDRESS_IN_USE, ERR_DIST_INTERFACE, ERR_DIST_RANK.
 * @example
 * await initProcessGroup("gloo");
 * allReduce(gradient, { op: "avg" });
 * await destroyProcessGroup();
 */
export async function initProcessGroup(
  backend?: Backend | InitProcessGroupOptions,
  options: InitProcessGroupOptions = {},
): Promise<ProcessGroup> {
  atMost(FN, arguments, 2);
  const given: InitProcessGroupOptions =
    typeof backend === "string" ? { ...options, backend } : { ...(backend ?? {}), ...options };
  checkOptions(FN, given, OPTIONS);
  const chosen = given.backend ?? (info.cuda && isNcclAvailable() ? "cpu:gloo,cuda:nccl" : "gloo");
  if (chosen !== "gloo" && !isNcclAvailable())
    throw new DistributedError(
      `${FN}: expected backend to be gloo, since this addon was built without NCCL. Received: ${chosen}.`,
      "ERR_DIST_BACKEND",
    );
  const place = rendezvous(FN, given);
  if (world !== null || connecting)
    throw new DistributedError(
      `${FN}: expected no process group. Received: one that is there already. Call await destroyProcessGroup() before.`,
      "ERR_DIST_INITIALIZED",
    );
  const timeout = given.timeout ?? DEFAULT_TIMEOUT;
  connecting = true;
  let met = false;
  try {
    await leaving.catch(() => undefined);
    if (process.env.NBIT_LAUNCHER !== undefined) native.distEndWithParent();
    await whenDone((done) => {
      native.distConnect(
        optionLines({
          ...place,
          timeout,
          heartbeatTimeout: given.heartbeatTimeout ?? 10_000,
          connectTimeout: given.connectTimeout ?? 300_000,
        }),
        done,
      );
    });
    met = true;
    const ranks = Array.from({ length: place.worldSize }, (_, r) => r);
    const verify = given.verify ?? chosen === "gloo";
    const group = new ProcessGroup("world", ranks, place.rank, chosen, verify);
    await addNative(group, timeout, false);
    world = { group, groups: new Map([["world", group]]), timeout, fake: false, made: 0 };
    process.on("uncaughtExceptionMonitor", tellOthers);
    process.on("exit", tellOthersOfExit);
    return group;
  } catch (error) {
    if (met) await whenDone((done) => native.distDestroy(false, done));
    throw error;
  } finally {
    connecting = false;
  }
}

/** A process that ends without having left tells the others why. */
const tellOthers = (error: unknown): void => {
  native.distFail(isError(error) ? `${error.name}: ${error.message}` : String(error));
};
const tellOthersOfExit = (code: number): void => {
  native.distFail(`its process ended with code ${code}, before destroyProcessGroup() had come to its end`);
};

function addNative(group: ProcessGroup, timeout: number, fake: boolean): Promise<void> {
  const { name, ranks, verify, backend } = group;
  return whenDone((done) => {
    native.distNewGroup(
      optionLines({ name, ranks: ranks.join(","), verify, timeout, nccl: backend !== "gloo" && !fake, fake }),
      done,
    );
  });
}

/**
 * A world of which only this process exists: collectives return at once, as if every rank held what this one does. For
 * plans of what a rank of many would do, on tensors of device "meta".
 */
export async function initFakeProcessGroup(rank: number, worldSize: number): Promise<ProcessGroup> {
  atMost("initFakeProcessGroup", arguments, 2);
  checkArguments("initFakeProcessGroup", { rank, worldSize }, { rank: whole("[0, ∞)"), worldSize: whole("[1, ∞)") });
  if (rank >= worldSize) throw new ArgumentError("initFakeProcessGroup", `rank to be from 0 to ${worldSize - 1}`, rank);
  await leaving.catch(() => undefined);
  native.distFakeWorld(rank, worldSize);
  const ranks = Array.from({ length: worldSize }, (_, r) => r);
  const group = new ProcessGroup("world", ranks, rank, "gloo", false);
  await addNative(group, DEFAULT_TIMEOUT, true);
  world = { group, groups: new Map([["world", group]]), timeout: DEFAULT_TIMEOUT, fake: true, made: 0 };
  return group;
}

/**
 * Leave. In order: together with the others, each of which must call this (or fail). What was begun and not waited for
 * is let go of. A second call waits for the first.
 *
 * @param options.inOrder - false: at once, after a failure; the others are told. Default true.
 * @throws {DistributedError} why it was not in order: another rank failed, or did not leave within `timeout`.
 */
export async function destroyProcessGroup(options: { readonly inOrder?: boolean } = {}): Promise<void> {
  atMost("destroyProcessGroup", arguments, 1);
  checkOptions("destroyProcessGroup", options, { inOrder: flag });
  if (world === null) return leaving;
  const { fake } = world;
  world = null;
  process.off("uncaughtExceptionMonitor", tellOthers);
  leaving = whenDone((done) => native.distDestroy((options.inOrder ?? true) && !fake, done)).finally(() =>
    process.off("exit", tellOthersOfExit),
  );
  return leaving;
}

export interface NewGroupOptions {
  /** Default: the world's. */
  readonly backend?: Backend;
  /** In ms. Default: the world's. */
  readonly timeout?: number;
  /** Default: the world's. */
  readonly verify?: boolean;
}
const NEW_GROUP: OptionNames<NewGroupOptions> = { backend: backends, timeout: whole("[1, 1000000000]"), verify: flag };

/**
 * A group of some ranks. *Every* process of the world calls this, in the same order, members or not.
 *
 * @param ranks - Default: all.
 * @returns null on ranks that are no members.
 * @example const pair = await newGroup([0, 1]);
 */
export async function newGroup(
  ranks?: readonly number[] | null,
  options: NewGroupOptions = {},
): Promise<ProcessGroup | null> {
  atMost("newGroup", arguments, 2);
  checkOptions("newGroup", options, NEW_GROUP);
  const { group: all, groups, timeout, fake } = requireWorld();
  checkArguments("newGroup", { ranks: ranks ?? [] }, { ranks: iterable });
  const members = [...(ranks ?? all.ranks)];
  if (members.length === 0 || new Set(members).size !== members.length || !members.every((r) => all.ranks.includes(r)))
    throw new ArgumentError("newGroup", `ranks to be different ones from 0 to ${all.size - 1}`, members);
  const current = requireWorld();
  const name = `group_${current.made++}`;
  const rank = members.indexOf(all.rank);
  if (rank === -1) return null;
  const group = new ProcessGroup(name, members, rank, options.backend ?? all.backend, options.verify ?? all.verify);
  await addNative(group, options.timeout ?? timeout, fake);
  groups.set(name, group);
  return group;
}

/** @throws {DistributedError} ERR_DIST_NOT_INITIALIZED */
function requireWorld(): World {
  if (world !== null) return world;
  throw new DistributedError(
    "distributed: expected a process group. Received: none. Call await initProcessGroup() first, in every process.",
    "ERR_DIST_NOT_INITIALIZED",
  );
}

/** @internal The group that is meant: the world where none is given. */
export function groupOf(fn: string, group: ProcessGroup | null | undefined): ProcessGroup {
  const all = requireWorld();
  if (group === undefined || group === null) return all.group;
  if (!(group instanceof ProcessGroup)) throw new ArgumentError(fn, "group to be a ProcessGroup", group);
  if (all.groups.get(group.name) !== group)
    throw new ArgumentError(fn, "a group of the world that is there now", group, "", "ERR_DIST_GROUP");
  return group;
}

/** Whether {@link initProcessGroup} has been called, and {@link destroyProcessGroup} has not. */
export function isInitialized(): boolean {
  return world !== null;
}
/** Whether this build can train in several processes: it can. */
export function isAvailable(): boolean {
  return true;
}
export function isGlooAvailable(): boolean {
  return true;
}
/** Whether tensors on CUDA can be reduced between processes: this libtorch has CUDA, and NCCL's header was there. */
export function isNcclAvailable(): boolean {
  return native.distHasNccl();
}
/** This process's rank in the world, or in a group: 0 without a world. */
export function getRank(group?: ProcessGroup | null): number {
  atMost("getRank", arguments, 1);
  return world === null ? 0 : groupOf("getRank", group).rank;
}
/** How many processes: 1 without a world. */
export function getWorldSize(group?: ProcessGroup | null): number {
  atMost("getWorldSize", arguments, 1);
  return world === null ? 1 : groupOf("getWorldSize", group).size;
}
export function getBackend(group?: ProcessGroup | null): Backend {
  atMost("getBackend", arguments, 1);
  return groupOf("getBackend", group).backend;
}

/** Tell the others which training step this rank is at: errors on any rank name it. */
export function setStep(step: number): void {
  atMost("setStep", arguments, 1);
  checkArguments("setStep", { step }, { step: whole("[0, ∞)") });
  native.distStep(step);
}
/** Tell the others that this rank fails, and why: they fail within a second, with this message. */
export function reportFailure(message: string): void {
  atMost("reportFailure", arguments, 1);
  checkArguments("reportFailure", { message }, { message: text });
  native.distFail(message);
}
/** What every rank was seen doing last, a line each. */
export function whereRanksAre(): string {
  return native.distTable();
}
/** The latest collectives as c10d's flight recorder has them (`TORCH_FR_BUFFER_SIZE` of them): JSON. */
export function flightRecorder(): string {
  return native.distFlightRecorder();
}
