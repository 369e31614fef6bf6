/** Times of stretches of training steps in this process, and what the process used. */
import { readFileSync } from "node:fs";
import { planOf, STARTED, type Result, type StepJob, type Usage } from "../job.js";
import { median } from "../statistics.js";

/** Seconds since the parent started this process. */
export const sinceStart = (): number =>
  (performance.timeOrigin + performance.now() - Number(process.env[STARTED])) / 1000;

const busySeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

export function usage(): Usage {
  // Of this program alone: getrusage would count what the parent had when it forked.
  const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"));
  return { peakMiB: Number(peak?.[1]) / 1024, cpuSeconds: busySeconds(), seconds: sinceStart() };
}

export class Meter {
  readonly plan: ReturnType<typeof planOf>;
  readonly losses: number[] = [];
  readonly #times: number[] = [];
  #start = 0;
  #first: readonly [time: number, busy: number] = [0, 0];
  #startSeconds = 0;
  #cores = 0;

  constructor(job: Pick<StepJob, "steps" | "cold" | "warmUp">) {
    this.plan = planOf(job);
  }

  /** After each step. */
  tick(done: number): void {
    if (done === 1) this.#startSeconds = sinceStart();
    const { warmUp, chunk } = this.plan;
    const timed = done - warmUp;
    if (timed < 0 || timed % chunk !== 0) return;
    const now = performance.now();
    if (timed === 0) this.#first = [now, busySeconds()];
    else this.#times.push(((now - this.#start) / chunk) * 1000);
    this.#start = now;
    const [time, busy] = this.#first;
    this.#cores = (busySeconds() - busy) / ((now - time) / 1000 || 1);
  }

  result(): Omit<Result, keyof Usage> {
    return { us: median(this.#times), losses: this.losses, startSeconds: this.#startSeconds, cores: this.#cores };
  }
}
