import type { LogValue } from "./metric.js";
import type { LogOptions } from "./results.js";

/** Takes what is logged. */
export type LogSink = (name: string, value: LogValue, options: LogOptions) => void;
