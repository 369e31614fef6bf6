/** As in torch.autograd.profiler: the same profiler under its older name, and marks for NVIDIA's and Intel's own tools. */
export { EventList, AverageList } from "./event-list.js";
export { FunctionEvent, FunctionEventAvg } from "./event.js";
export { profile } from "./profile.js";
export { RecordFunction, recordFunction } from "./record-function.js";
export { emitItt, emitNvtx, type EmitOptions } from "./emit.js";
