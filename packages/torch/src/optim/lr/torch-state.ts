/** State dicts of PyTorch's schedulers in our names, and back. */

type Fields = Readonly<Record<string, unknown>>;

/** What only PyTorch counts and remembers. */
const ONLY_THEIRS: ReadonlySet<string> = new Set([
  "_step_count",
  "_is_initial",
  "_get_lr_called_within_step",
  "verbose",
]);

/** @internal Whether a state has PyTorch's names. */
export function isTorchScheduler(state: Fields): boolean {
  return "last_epoch" in state;
}
/** @internal Whether it has ours. */
export function isSchedulerState(state: Fields): boolean {
  return typeof state["lastEpoch"] === "number" && (Array.isArray(state["lrs"]) || Array.isArray(state["baseLrs"]));
}

/** @internal `{ last_epoch, base_lrs, _last_lr }` as `{ lastEpoch, baseLrs, lrs }`. */
export function schedulerFromTorch(state: Fields): Fields {
  return Object.fromEntries(
    Object.entries(state)
      .filter(([name]) => !ONLY_THEIRS.has(name))
      .map(([name, value]) => [
        name === "_last_lr" ? "lrs" : name.replaceAll(/_([a-z])/g, (_, c: string) => c.toUpperCase()),
        value,
      ]),
  );
}

/** @internal The other way, with PyTorch's number of steps. */
export function schedulerToTorch({ lrs, ...own }: Fields): Fields {
  const renamed = Object.entries(own).map(([name, value]) => [
    name.replaceAll(/[A-Z]/g, (c) => `_${c.toLowerCase()}`),
    value,
  ]);
  const steps = own["lastEpoch"];
  return {
    ...(Object.fromEntries(renamed) as Fields),
    ...(lrs === undefined ? {} : { _last_lr: lrs }),
    ...(typeof steps === "number" && own["baseLrs"] !== undefined ? { _step_count: steps + 1 } : {}),
  };
}
