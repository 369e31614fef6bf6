let depth = 0;

/** @internal Whether a forward runs a second time, for backward: statistics have been taken in the first. */
export function isRecomputing(): boolean {
  return depth > 0;
}

/** @internal */
export function recomputing<T>(fn: () => T): T {
  depth++;
  try {
    return fn();
  } finally {
    depth--;
  }
}
