/** Starting processes that train together, and finding out who did. Loads no libtorch. */
export { clusterEnvironment, type ClusterEnvironment } from "../environment.js";
export { launch } from "./launch.js";
export type { LaunchOptions } from "./options.js";
export { relaunch } from "./relaunch.js";
