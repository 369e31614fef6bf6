/** Every line that a Trainer writes is as docs/run-log.schema.json says. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { LightningModule, MixedPrecision, RunLog, Trainer } from "@nbit/lightning";
import { DataLoader, nn, optim, randn, seedEverything, TensorDataset } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { QUIET } from "../helpers/training.js";

const root = temporaryFolder("run-log-schema");

/** What of JSON Schema the file uses. */
interface Schema {
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, Schema>>;
  readonly title?: string;
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
}
const schema = JSON.parse(
  readFileSync(new URL("../../../docs/run-log.schema.json", import.meta.url), "utf8"),
) as Schema;

const KEYWORDS =
  "$ref title description type const enum minimum anyOf required properties additionalProperties items".split(" ");

/** What is wrong with a value; fields without a schema count as wrong, since the writer is ours. */
function faults(value: unknown, given: Schema, at: string): string[] {
  for (const key of Object.keys(given)) assert.ok(KEYWORDS.includes(key), `a keyword that is not checked: ${key}`);
  if (given.$ref !== undefined) return faults(value, schema.$defs?.[given.$ref.replace("#/$defs/", "")] ?? {}, at);
  if (given.anyOf !== undefined)
    return given.anyOf.some((one) => faults(value, one, at).length === 0) ? [] : [`${at}: none of anyOf`];
  if ("const" in given && value !== given.const) return [`${at}: not ${String(given.const)}`];
  if (given.enum !== undefined && !given.enum.includes(value)) return [`${at}: none of enum`];
  if (given.type !== undefined && !isOf(given.type, value)) return [`${at}: no ${given.type}`];
  if (given.minimum !== undefined && !(Number(value) >= given.minimum)) return [`${at}: below ${given.minimum}`];
  if (Array.isArray(value)) return value.flatMap((item, i) => faults(item, given.items ?? {}, `${at}[${i}]`));
  if (typeof value !== "object" || value === null) return [];
  const { properties, additionalProperties, required = [] } = given;
  return [
    ...required.filter((key) => !(key in value)).map((key) => `${at}.${key}: missing`),
    ...Object.entries(value).flatMap(([key, item]) => {
      const inner = properties?.[key] ?? additionalProperties;
      if (inner !== undefined) return faults(item, inner, `${at}.${key}`);
      return properties === undefined ? [] : [`${at}.${key}: not in the schema`];
    }),
  ];
}
function isOf(type: string, value: unknown): boolean {
  if (type === "array") return Array.isArray(value);
  if (type === "integer") return Number.isInteger(value);
  if (type === "null") return value === null;
  return type === "object"
    ? typeof value === "object" && value !== null && !Array.isArray(value)
    : typeof value === type;
}

class Line extends LightningModule {
  readonly layer = new nn.Linear(3, 1);
  override trainingStep([x]: [Tensor], batchIdx: number): Tensor {
    this.log("odd", batchIdx === 1 ? Number.NaN : -1.5);
    return this.layer.forward(x).square().mean();
  }
  override validationStep([x]: [Tensor]): void {
    this.log("val", this.layer.forward(x).mean());
  }
  override configureOptimizers(): optim.Optimizer {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}

test("every kind of record is written as the schema has it", async () => {
  seedEverything(1);
  const path = join(root, "run.jsonl");
  const trainer = new Trainer({
    ...QUIET,
    maxEpochs: 1,
    enableCheckpointing: true,
    defaultRootDir: root,
    plugins: new MixedPrecision({ scaler: { initScale: 2 ** 24 } }),
    callbacks: new RunLog({ path, everyNSteps: 1 }),
  });
  const loader = new DataLoader(new TensorDataset(randn([8, 3])), { batchSize: 2 });
  await trainer.fit(new Line(), { trainDataloaders: loader, valDataloaders: loader });
  const kinds = new Map((schema.oneOf ?? []).map((one) => [one.title ?? "", one]));
  const seen = new Set<string>();
  for (const line of readFileSync(path, "utf8").trimEnd().split("\n")) {
    const record = JSON.parse(line) as { readonly type: string };
    seen.add(record.type);
    assert.deepEqual(faults(record, kinds.get(record.type) ?? { enum: [] }, record.type), [], line);
  }
  assert.deepEqual([...seen].sort(), [...kinds.keys()].sort());
  assert.notDeepEqual(faults({ type: "end", status: "lost" }, kinds.get("end") ?? {}, "end"), [], "the check checks");
});
