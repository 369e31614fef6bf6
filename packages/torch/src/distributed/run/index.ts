/** Starting processes that train together, and finding out who did. Loads no libtorch. */
export { clusterEnvironment, type ClusterEnvironment } from "../environment.js";
