/** What tests that train have in common. */
import { Logger, type Metrics, type TrainerOptions } from "@nbit/lightning";

/** A Trainer that prints and writes nothing. */
export const SILENT = {
  logger: false,
  enableCheckpointing: false,
  enableProgressBar: false,
  enableModelSummary: false,
} as const satisfies TrainerOptions;
/** The same, on the CPU. */
export const QUIET = { accelerator: "cpu", ...SILENT } as const satisfies TrainerOptions;

export interface GivenWarning {
  readonly code: string;
  readonly message: string;
}
/** The warnings of the process while something runs. */
export async function warningsOf(run: () => unknown): Promise<GivenWarning[]> {
  const given: GivenWarning[] = [];
  await new Promise((resolve) => setImmediate(resolve)); // those of earlier tests
  const listen = (warning: Error & { readonly code?: string }): void =>
    void given.push({ code: warning.code ?? "", message: warning.message });
  process.on("warning", listen);
  try {
    await run();
    await new Promise((resolve) => setImmediate(resolve)); // they are emitted in a turn of their own
  } finally {
    process.off("warning", listen);
  }
  return given;
}

/** A logger that keeps what it is given. */
export class MetricRows extends Logger {
  readonly name = "rows";
  readonly version = 0;
  readonly rows: { readonly step: number; readonly metrics: Metrics }[] = [];
  override logMetrics(metrics: Metrics, step: number): void {
    this.rows.push({ step, metrics });
  }
}
