import type { LogValue } from "./metric.js";
import type { PendingNumber } from "./pending-number.js";
import type { LogOptions } from "./results.js";

/** Takes what is logged. */
export type LogSink = (name: string, value: LogValue | PendingNumber, options: LogOptions) => void;
