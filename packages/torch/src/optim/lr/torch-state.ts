/** State dicts of PyTorch's schedulers in our names, and back. */

type Fields = Readonly<Record<string, unknown>>;

/** What only PyTorch remembers. */
const ONLY_THEIRS: ReadonlySet<string> = new Set(["_is_initial", "_get_lr_called_within_step", "verbose"]);
/** Names that no rule makes. */
const SPECIAL: Readonly<Record<string, string>> = {
  _last_lr: "lrs",
  _step_count: "stepCount",
  _schedulers: "schedulers",
  T_cur: "TCur",
  T_i: "TI",
};
const BACK: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(SPECIAL).map(([theirs, ours]) => [ours, theirs]),
);

/** @internal Whether a state has PyTorch's names. */
export function isTorchScheduler(state: Fields): boolean {
  return "last_epoch" in state || "_schedulers" in state;
}
/** @internal Whether it has ours. */
export function isSchedulerState(state: Fields): boolean {
  return typeof state["lastEpoch"] === "number" && (Array.isArray(state["lrs"]) || Array.isArray(state["baseLrs"]));
}

/** @internal `{ last_epoch, base_lrs, _last_lr }` as `{ lastEpoch, baseLrs, lrs }`, also of schedules in a schedule. */
export function schedulerFromTorch(state: Fields): Fields {
  return renamed(state, (name) => SPECIAL[name] ?? name.replaceAll(/_([a-z])/g, (_, c: string) => c.toUpperCase()));
}

/** @internal The other way, with PyTorch's number of steps. */
export function schedulerToTorch(state: Fields): Fields {
  const made = renamed(state, (name) => BACK[name] ?? name.replaceAll(/[A-Z]/g, (c) => `_${c.toLowerCase()}`));
  const steps = state["lastEpoch"];
  return typeof steps === "number" && state["baseLrs"] !== undefined ? { _step_count: steps + 1, ...made } : made;
}

function renamed(state: Fields, rename: (name: string) => string): Fields {
  return Object.fromEntries(
    Object.entries(state)
      .filter(([name]) => !ONLY_THEIRS.has(name))
      .map(([name, value]) => [
        rename(name),
        rename(name).endsWith("schedulers") && Array.isArray(value)
          ? value.map((each) => (typeof each === "object" && each !== null ? renamed(each as Fields, rename) : each))
          : value,
      ]),
  );
}
