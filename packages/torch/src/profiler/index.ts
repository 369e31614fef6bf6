/** As in torch.profiler: what ran, how long, and with how much memory. */
export { Profile, profile, supportedActivities, type ProfileOptions } from "./profile.js";
export { ProfilerActivity } from "./options.js";
export { ProfilerAction, schedule, type Schedule, type ScheduleOptions } from "./schedule.js";
export { RecordFunction, recordFunction } from "./record-function.js";
export { tensorboardTraceHandler, type TraceHandlerOptions } from "./trace-handler.js";
export { AverageList, EventList, type KeyAveragesOptions, type StackMetric } from "./event-list.js";
export { FunctionEvent, FunctionEventAvg, type EventFigures, type Kernel, type TimeRange } from "./event.js";
export type { MemoryTimeline } from "./memory-timeline.js";
export { SORT_KEYS, type SortKey, type TableOptions } from "./table.js";
