import { checkOptions, kinds, type OptionNames } from "@nbit/torch";
import { MisconfigurationError } from "./errors.js";

export interface Duration {
  readonly days?: number;
  readonly hours?: number;
  readonly minutes?: number;
  readonly seconds?: number;
}

const PART = kinds.real("[0, ∞)");
const DURATION: OptionNames<Duration> = { days: PART, hours: PART, minutes: PART, seconds: PART };

/** Seconds of a `maxTime` or Timer duration. */
export function parseDuration(value: string | Duration, where: string): number {
  if (typeof value === "string") {
    const match = /^(\d+):(\d\d):(\d\d):(\d\d)$/.exec(value.trim());
    if (match !== null) {
      const [days = 0, hours = 0, minutes = 0, seconds = 0] = match.slice(1).map(Number);
      return ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
    }
  } else if (typeof value === "object" && value !== null) {
    checkOptions<Duration>(
      where,
      value,
      DURATION,
      (expected, received) => new MisconfigurationError(where, expected, received, undefined, "ERR_DURATION"),
    );
    const { days = 0, hours = 0, minutes = 0, seconds = 0 } = value;
    const total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
    if (Number.isFinite(total) && total >= 0) return total;
  }
  throw new MisconfigurationError(
    where,
    'a duration as "DD:HH:MM:SS" or { days, hours, minutes, seconds }',
    value,
    undefined,
    "ERR_DURATION",
  );
}
