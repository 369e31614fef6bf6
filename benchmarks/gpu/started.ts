/** When the process of a measurement was started, which its parent writes into its environment. */
export const STARTED = "NBIT_BENCH_STARTED";

/** From the start of this process to a time, both in milliseconds since 1970; null where the parent did not say. */
export function sinceStart(time: number): number | null {
  const started = Number(process.env[STARTED] ?? NaN);
  return Number.isFinite(started) ? time - started : null;
}
/** An environment for a process that starts now. */
export function startingNow(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  return { ...env, [STARTED]: String(Date.now()) };
}
