/** The saved state of APEX amp, and how one is read. */
import { ArgumentError, noGrad, scope, type Tensor } from "@nbit/torch";
import { anyTensor, conforming, fieldsOf, optional, recordOf } from "@nbit/torch/schema";
import { LOSS_SCALER, type LossScaler, type LossScalerState } from "./loss-scaler.js";
import type { MasterWeights } from "./master-weights.js";

/** APEX's state (`loss_scaler0`, …) and the masters, which APEX leaves out. */
export interface AmpState {
  /**
   * Masters by optimizer and position, exactly: a run that resumes goes on from these and not from rounded weights.
   * Absent in APEX's own states.
   */
  readonly masters?: Readonly<Record<string, Tensor>>;
  readonly [lossScaler: `loss_scaler${number}`]: LossScalerState;
}

/** Loss scales under APEX's names, and the masters. */
export function ampStateOf(lossScalers: readonly LossScaler[], weights: MasterWeights): AmpState {
  const masters = mastersByKey(weights);
  const scalers = Object.fromEntries(lossScalers.map((s, i) => [`loss_scaler${i}`, s.stateDict()]));
  return Object.keys(masters).length === 0 ? scalers : { ...scalers, masters };
}

/** Loads a state, which is checked before anything changes. Where it has no masters, they stay. */
export function loadAmpState(state: unknown, lossScalers: readonly LossScaler[], weights: MasterWeights): void {
  const own = mastersByKey(weights);
  const { scalers, masters } = readAmpState(state, lossScalers.length, own);
  scalers.forEach((scaler, i) => lossScalers[i]?.loadStateDict({ ...scaler }));
  if (masters === undefined) return;
  noGrad(() =>
    scope(() => {
      for (const [key, m] of Object.entries(own)) m.detach().copy_(masters[key] ?? m);
    }),
  );
  weights.copyToModel();
}

/** By optimizer and position. */
function mastersByKey(weights: MasterWeights): Record<string, Tensor> {
  const masters: Record<string, Tensor> = {};
  weights.optimizers.forEach((optimizer, o) =>
    weights.pairsOf(optimizer).forEach(({ parameter, master }, i) => {
      if (parameter !== master) masters[`${o}.${i}`] = master;
    }),
  );
  return masters;
}

/** A state that fits. */
interface ReadAmpState {
  readonly scalers: readonly LossScalerState[];
  readonly masters: Readonly<Record<string, Tensor>> | undefined;
}

/**
 * @param own - The masters that there are, by their keys.
 * @throws {ArgumentError} when the number of losses or the masters differ.
 */
function readAmpState(state: unknown, numLosses: number, own: Readonly<Record<string, Tensor>>): ReadAmpState {
  const fn = "apex.loadStateDict";
  if (typeof state !== "object" || state === null) throw new ArgumentError(fn, "what stateDict returned", state);
  const given: Readonly<Record<string, unknown>> = { ...state };
  const names = Object.keys(given).filter((key) => /^loss_scaler\d+$/.test(key));
  if (names.length !== numLosses) {
    const received = names.length === 0 ? Object.keys(given) : names;
    throw new ArgumentError(
      fn,
      `${numLosses} loss scalers (loss_scaler0, …)`,
      received,
      "Initialize with the numLosses that it was saved with.",
    );
  }
  const refuse = ({
    path,
    expected,
    received,
  }: {
    readonly path: string;
    readonly expected: string;
    readonly received: unknown;
  }): ArgumentError => new ArgumentError(fn, `${path} to be ${expected}`, received);
  const indices = [...Array(numLosses).keys()];
  const form = fieldsOf({
    ...Object.fromEntries(indices.map((i) => [`loss_scaler${i}`, LOSS_SCALER])),
    masters: optional(recordOf(anyTensor)),
  });
  const { masters } = conforming(form, given, "", refuse);
  const scalers = indices.map((i) => conforming(LOSS_SCALER, given[`loss_scaler${i}`], `loss_scaler${i}`, refuse));
  if (masters !== undefined && !haveShapesOf(masters, own)) {
    const expected = `masters of ${Object.keys(own).length} parameters, in their shapes`;
    throw new ArgumentError(fn, expected, Object.keys(masters).length, "Was it saved at another opt level?");
  }
  return { scalers, masters };
}

/** Whether saved masters are dense floating ones of the same keys and shapes. */
function haveShapesOf(masters: Readonly<Record<string, Tensor>>, own: Readonly<Record<string, Tensor>>): boolean {
  const keys = [...new Set([...Object.keys(own), ...Object.keys(masters)])];
  return keys.every((key) => {
    const [saved, mine] = [masters[key], own[key]];
    if (saved === undefined || mine === undefined) return false;
    return saved.shape.join() === mine.shape.join() && saved.isFloatingPoint() && saved.layout === "strided";
  });
}
