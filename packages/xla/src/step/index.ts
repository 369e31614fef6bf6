/** @nbit/xla/step: steps on a device, for the Trainer. Not a public interface. */
export { CompiledStep, DeviceValue, type CompileStepOptions, type StepRun } from "./compiled-step.js";
export { RandomState } from "./random-state.js";
export { Residents } from "./residents.js";
export { AheadDevice, type AheadProgram } from "./ahead-device.js";
export { PluginDevice } from "./plugin-device.js";
export type { DeviceBuffer, DeviceProgram, StepDevice } from "./device.js";
