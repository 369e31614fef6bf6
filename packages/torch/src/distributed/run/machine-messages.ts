/** What supervisors of several machines tell each other: a line of JSON each, to and from machine 0. */
import type { Socket } from "node:net";
import { isPlain } from "../../kinds.js";
import { LineSplitter } from "./lines.js";

/** To machine 0. */
export type Report =
  | { readonly kind: "hello"; readonly machine: number; readonly machines: number; readonly n: number }
  /** A rank of the machine has failed. */
  | { readonly kind: "failed"; readonly code: number; readonly reason: string }
  /** The machine was asked to end. */
  | { readonly kind: "signal"; readonly signal: string }
  /** No rank of the machine runs any longer. */
  | { readonly kind: "ended"; readonly code: number };

/** From machine 0. */
export type Order =
  | {
      readonly kind: "start";
      readonly restart: number;
      readonly port: number;
      readonly firstRank: number;
      readonly worldSize: number;
    }
  /** Another machine has failed: end the ranks. */
  | { readonly kind: "stop" }
  | { readonly kind: "signal"; readonly signal: string }
  /** All ranks have ended: how it went, and whether they start again. */
  | { readonly kind: "verdict"; readonly code: number; readonly again: boolean; readonly reason: string | null }
  | { readonly kind: "refused"; readonly reason: string };

type Kinds<M extends { readonly kind: string }> = {
  readonly [K in M["kind"]]: Readonly<Record<Exclude<keyof Extract<M, { kind: K }>, "kind">, Field>>;
};
type Field = "number" | "text" | "flag" | "textOrNull";
const REPORTS: Kinds<Report> = {
  hello: { machine: "number", machines: "number", n: "number" },
  failed: { code: "number", reason: "text" },
  signal: { signal: "text" },
  ended: { code: "number" },
};
const ORDERS: Kinds<Order> = {
  start: { restart: "number", port: "number", firstRank: "number", worldSize: "number" },
  stop: {},
  signal: { signal: "text" },
  verdict: { code: "number", again: "flag", reason: "textOrNull" },
  refused: { reason: "text" },
};
const FIELDS: Readonly<Record<Field, (value: unknown) => boolean>> = {
  number: (value) => Number.isSafeInteger(value),
  text: (value) => typeof value === "string" && value.length < 4096,
  flag: (value) => typeof value === "boolean",
  textOrNull: (value) => value === null || FIELDS.text(value),
};

function isOf<M extends { readonly kind: string }>(kinds: Kinds<M>, value: unknown): value is M {
  if (!isPlain(value) || typeof value["kind"] !== "string" || !Object.hasOwn(kinds, value["kind"])) return false;
  const fields: Readonly<Record<string, Field>> = kinds[value["kind"] as M["kind"]];
  return Object.entries(fields).every(([name, field]) => FIELDS[field](value[name]));
}
export const isReport = (value: unknown): value is Report => isOf(REPORTS, value);
export const isOrder = (value: unknown): value is Order => isOf(ORDERS, value);

export function send(socket: Socket, message: Report | Order): void {
  if (socket.writable) socket.write(`${JSON.stringify(message)}\n`);
}

/** Calls back for every message; what is none ends the connection: somebody else has come. */
export function receive<M>(socket: Socket, is: (value: unknown) => value is M, onMessage: (message: M) => void): void {
  const splitter = new LineSplitter((lines) => {
    for (const line of lines) {
      const message = parse(line);
      if (!is(message)) {
        socket.destroy();
        return;
      }
      onMessage(message);
    }
  });
  socket.on("data", (chunk: Buffer) => splitter.push(chunk));
}

function parse(line: Buffer): unknown {
  try {
    return JSON.parse(line.toString("utf8")) as unknown;
  } catch {
    return null;
  }
}
