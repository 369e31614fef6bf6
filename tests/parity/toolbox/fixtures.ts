/** The tables, and what PyTorch made of their rows. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import type { FixtureOrigin } from "../../helpers/reproducible.js";
import type { RecordOfCase, Row } from "./table.js";

// The compiled file lies in tests/dist/parity/toolbox, the tables beside its source.
const here = new URL("../../../parity/toolbox/", import.meta.url);

export interface Area {
  readonly area: string;
  readonly rows: readonly Row[];
  readonly origin: FixtureOrigin;
  readonly records: readonly RecordOfCase[];
}
/** `folder`: where the records are. Default: those of the CPU. An area without any has none. */
export function areas(folder = new URL("fixtures/", here)): Area[] {
  return readdirSync(new URL("cases", here))
    .sort()
    .map((file) => {
      const area = file.replace(/\.json$/, "");
      const rows = JSON.parse(readFileSync(new URL(`cases/${file}`, here), "utf8")) as readonly Row[];
      const records = new URL(`${area}.jsonl`, folder);
      const [origin = "{}", ...lines] = (existsSync(records) ? readFileSync(records, "utf8") : "{}")
        .trimEnd()
        .split("\n");
      return {
        area,
        rows,
        origin: JSON.parse(origin) as FixtureOrigin,
        records: lines.map((line) => JSON.parse(line) as RecordOfCase),
      };
    });
}
