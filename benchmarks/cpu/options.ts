/** The command line of the CPU benchmark. */
import { flagsOf } from "../flags.js";
import { OTHER_WAYS, PEERS } from "./sides.js";

export interface Options {
  readonly quick: boolean;
  readonly scale: boolean;
  readonly long: boolean;
  /** Words of ids or names; null: all. */
  readonly rows: readonly string[] | null;
  readonly peers: readonly string[];
  readonly runs: number;
  readonly threads?: readonly number[];
  readonly steps?: number;
  /** Files of results. */
  readonly compare: string | null;
  readonly with: string | null;
  /** Null: where complete results stand, and nowhere for others. */
  readonly out: string | null;
  /** Whether rows, peers or steps are fewer than all. */
  readonly narrowed: boolean;
}

const SWITCHES = ["quick", "scale", "long"];
const VALUES = ["rows", "peers", "runs", "threads", "steps", "compare", "with", "out"];

type Flags = ReturnType<typeof flagsOf>;

function checkFlags(flags: Flags): void {
  for (const [name, value] of flags)
    if (SWITCHES.includes(name) !== (value === undefined))
      throw new Error(
        `expected --${name} ${value === undefined ? "with" : "without"} a value. Received: ${value ?? "none"}`,
      );
  for (const [one, other] of [
    ["long", "scale"],
    ["with", "compare"],
  ] as const)
    if (flags.has(one) && !flags.has(other)) throw new Error(`expected --${other} beside --${one}. Received: none`);
}

/** @throws {Error} For flags that are unknown, lack a value, have none to take, or only mean something beside another. */
export function optionsOf(args: readonly string[]): Options {
  const flags = flagsOf([...VALUES, ...SWITCHES], args);
  checkFlags(flags);
  const listOf = (name: string): string[] | undefined => flags.get(name)?.split(",");
  const numbersOf = (name: string, most: number): number[] | undefined => {
    const numbers = listOf(name)?.map(Number);
    if (numbers !== undefined && (numbers.length > most || numbers.some((n) => !Number.isInteger(n) || n < 1)))
      throw new Error(
        `expected --${name} to be ${most === 1 ? "a whole number" : "whole numbers"} ≥ 1. Received: ${flags.get(name)}`,
      );
    return numbers;
  };
  const peers = listOf("peers") ?? PEERS;
  const unknown = peers.filter((peer) => ![...PEERS, ...OTHER_WAYS].some((known) => known === peer));
  if (unknown.length > 0)
    throw new Error(`expected --peers among ${[...PEERS, ...OTHER_WAYS].join(", ")}. Received: ${unknown.join(", ")}`);
  const quick = flags.has("quick");
  const [steps] = numbersOf("steps", 1) ?? [];
  const threads = numbersOf("threads", Infinity);
  return {
    quick,
    scale: flags.has("scale"),
    long: flags.has("long"),
    rows: listOf("rows") ?? null,
    peers,
    runs: numbersOf("runs", 1)?.[0] ?? (quick ? 3 : 5),
    ...(threads === undefined ? {} : { threads }),
    ...(steps === undefined ? {} : { steps }),
    compare: flags.get("compare") ?? null,
    with: flags.get("with") ?? null,
    out: flags.get("out") ?? null,
    narrowed: flags.has("rows") || flags.has("peers") || flags.has("steps"),
  };
}
