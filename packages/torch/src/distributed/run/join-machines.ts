/** All machines that take part, seen from this one. */
import { Coordinator } from "./coordinator.js";
import { connect } from "./machine-link.js";
import { Inbox, type Elsewhere, type Machines } from "./machines.js";
import type { Settings } from "./options.js";

/**
 * Machine 0 waits for the others, the others connect to it. One machine waits for nobody.
 * @throws {ArgumentError} `ERR_LAUNCH_PORT`, on machine 0.
 */
export async function joinMachines(settings: Settings, elsewhere: Elsewhere): Promise<Machines> {
  const inbox = new Inbox(elsewhere);
  if (settings.nodeRank !== 0) return connect(settings, inbox, elsewhere);
  return Coordinator.open(settings, inbox, elsewhere);
}
