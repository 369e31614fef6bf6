/** Every logger, how to make one, and how to read what it wrote. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CSVLogger, JSONLLogger, MLFlowLogger, TensorBoardLogger, WandbLogger, type Logger } from "@nbit/lightning";
import { all, message, number, scalars, text, wandbItems, wandbRecords } from "./event-reader.js";
import { events } from "./event-reader.js";
import type { FakeMlflow } from "./mlflow-server.js";

/** A value with its name and step. */
export type Value = readonly [name: string, step: number, value: number];

export interface Case {
  readonly name: string;
  readonly make: (folder: string, server: string) => Logger;
  /** All values in the order in which they were logged. */
  readonly values: (folder: string, server: FakeMlflow) => Value[];
  /** Hyper-parameters by name, as texts. */
  readonly hparams: (folder: string, server: FakeMlflow) => Record<string, string>;
  /** What is left of a number. */
  readonly exact: boolean;
  /** Its state says where it goes on, so that nothing comes twice. */
  readonly cutsBack: boolean;
}

const numberOf = (value: unknown): number =>
  value === "NaN" || value === "nan" ? NaN : value === "inf" ? Infinity : value === "-inf" ? -Infinity : Number(value);
const yaml = (folder: string): Record<string, string> => {
  const lines = readFileSync(join(folder, "hparams.yaml"), "utf8").trim().split("\n");
  const found: Record<string, string> = {};
  const path: string[] = [];
  for (const line of lines) {
    const [, indent = "", key = "", value = ""] = /^( *)([^:]+): ?(.*)$/.exec(line) ?? [];
    path.length = indent.length / 2;
    path.push(key);
    if (value !== "") found[path.join("/")] = value.replace(/^"|"$/g, "");
  }
  return found;
};

function csvValues(folder: string): Value[] {
  const path = join(folder, "log", "v", "metrics.csv");
  if (!existsSync(path)) return [];
  const [header = "", ...rows] = readFileSync(path, "utf8").trim().split("\n");
  const columns = header.split(",");
  return rows.flatMap((row) => {
    const cells = row.split(",");
    const step = Number(cells[columns.indexOf("step")]);
    return columns.flatMap((name, i): Value[] =>
      name === "step" || cells[i] === "" ? [] : [[name, step, numberOf(cells[i])]],
    );
  });
}
function jsonlValues(folder: string): Value[] {
  const path = join(folder, "log", "v", "metrics.jsonl");
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8")
    .trim()
    .split("\n")
    .flatMap((line) => {
      const { step, time: _time, ...rest } = JSON.parse(line) as Record<string, unknown>;
      return Object.entries(rest).map(([name, value]): Value => [name, Number(step), numberOf(value)]);
    });
}

export function wandbFolders(folder: string): string[] {
  const root = join(folder, "wandb");
  return existsSync(root)
    ? readdirSync(root)
        .sort()
        .map((name) => join(root, name))
    : [];
}
export function wandbLog(folder: string): Buffer[] {
  return wandbFolders(folder).flatMap((run) =>
    readdirSync(run)
      .filter((name) => name.endsWith(".wandb"))
      .flatMap((name) => wandbRecords(readFileSync(join(run, name)))),
  );
}
const field = (records: Buffer[], kind: number): Buffer[] => records.flatMap((record) => all(record, kind) as Buffer[]);

/** What an experiment's hyper-parameters are in the table of TensorBoard's. */
function tensorBoardHparams(folder: string): Record<string, string> {
  for (const { summary } of events(join(folder, "log", "v"))) {
    const value = summary === null ? null : message(summary, 1);
    if (value === null || text(value, 1) !== "_hparams_/session_start_info") continue;
    const entries = all(message(value, 9, 1, 2, 3), 1) as Buffer[];
    return Object.fromEntries(entries.map((entry) => [text(entry, 1), plainValue(message(entry, 2))]));
  }
  return {};
}
function plainValue(value: Buffer): string {
  if (all(value, 2).length > 0) return String(number(value, 2));
  return all(value, 3).length > 0 ? text(value, 3) : String(number(value, 4) === 1);
}

const file = { name: "log", version: "v" } as const;
export const CASES: readonly Case[] = [
  {
    name: "CSVLogger",
    make: (folder) => new CSVLogger(folder, { ...file, flushLogsEveryNSteps: 1 }),
    values: csvValues,
    hparams: (folder) => yaml(join(folder, "log", "v")),
    exact: true,
    cutsBack: true,
  },
  {
    name: "JSONLLogger",
    make: (folder) => new JSONLLogger(folder, file),
    values: jsonlValues,
    hparams: (folder) => yaml(join(folder, "log", "v")),
    exact: true,
    cutsBack: true,
  },
  {
    name: "TensorBoardLogger",
    make: (folder) => new TensorBoardLogger(folder, { ...file, defaultHpMetric: true }),
    values: (folder) => {
      const path = join(folder, "log", "v");
      return existsSync(path) ? scalars(path).filter(([name]) => name !== "hp_metric") : [];
    },
    hparams: tensorBoardHparams,
    exact: false,
    cutsBack: false,
  },
  {
    name: "MLFlowLogger",
    make: (folder, server) =>
      new MLFlowLogger("experiment", { trackingUri: server, saveDir: folder, synchronous: true, retrySeconds: 0.01 }),
    values: (_folder, server) =>
      [...server.runs.values()].flatMap(({ metrics }) =>
        metrics.map(({ key, step, value }): Value => [key, step, value]),
      ),
    hparams: (_folder, server) => Object.fromEntries([...server.runs.values()].flatMap(({ params }) => [...params])),
    exact: true,
    cutsBack: false,
  },
  {
    name: "WandbLogger",
    make: (folder) => new WandbLogger({ saveDir: folder, project: "log", version: "id" }),
    values: (folder) =>
      field(wandbLog(folder), 2).flatMap((history) => {
        const { "trainer/global_step": step, ...rest } = wandbItems(history);
        return Object.entries(rest).flatMap(([name, value]): Value[] =>
          name.startsWith("_") ? [] : [[name, Number(step), value === "Infinity" ? Infinity : numberOf(value)]],
        );
      }),
    hparams: (folder) => {
      const flat: Record<string, string> = {};
      const visit = (value: unknown, name: string): void => {
        if (typeof value === "object" && value !== null)
          for (const [key, item] of Object.entries(value)) visit(item, name === "" ? key : `${name}/${key}`);
        else flat[name] = String(value);
      };
      for (const config of field(wandbLog(folder), 5)) visit(wandbItems(config), "");
      return flat;
    },
    exact: true,
    cutsBack: false,
  },
];
