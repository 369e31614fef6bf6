import { Generator, getRngState, keep, setRngState } from "@nbit/torch";
import type { Device, Tensor } from "@nbit/torch";

/**
 * States of the generators that operators draw from by default: the CPU's, and that of the device in use when it is
 * another.
 */
export interface RngState {
  readonly cpu: Tensor;
  readonly device: Tensor | null;
}

/** As they are now, in tensors of the scope that is open. */
export function rngState(device: Device): RngState {
  return { cpu: getRngState(), device: device.type === "cpu" ? null : new Generator(device, true).getState() };
}

/** The same in tensors that outlive scopes, until {@link disposeRng}. */
export function captureRng(device: Device): RngState {
  const state = rngState(device);
  keep(state.cpu);
  if (state.device !== null) keep(state.device);
  return state;
}

export function restoreRng(state: RngState, device: Device): void {
  setRngState(state.cpu);
  if (state.device !== null && device.type !== "cpu") new Generator(device, true).setState(state.device);
}

export function disposeRng(state: RngState): void {
  state.cpu.dispose();
  state.device?.dispose();
}

/** @throws {ArgumentError} for a state that a generator of this device does not take; no generator is changed. */
export function checkRng(state: RngState, device: Device): void {
  new Generator().setState(state.cpu);
  if (state.device !== null && device.type !== "cpu") new Generator(device).setState(state.device);
}
