/** The part of every machine but the first: it connects to machine 0, and does what that says. */
import { connect as open, type Socket } from "node:net";
import { NbitError } from "../../errors.js";
import { isOrder, receive, send } from "./machine-messages.js";
import type { Elsewhere, Inbox, Machines } from "./machines.js";
import type { Settings } from "./options.js";

/** How long machine 0 may take to come, and how often it is looked for. */
const COMING_MS = 600_000;
const RETRY_MS = 250;
/** After it, who is waited for is said, once. */
const PATIENCE_MS = 10_000;

export function connect(settings: Settings, inbox: Inbox, elsewhere: Elsewhere): Machines {
  const { masterAddr, masterPort, nodeRank, nnodes, n } = settings;
  const address = `${masterAddr}:${masterPort}`;
  let socket: Socket | null = null;
  let closed = false;
  let retry: NodeJS.Timeout | null = null;
  let tries = 0;
  let orders = 0;

  const look = (): void => {
    const candidate = open({ host: masterAddr, port: masterPort });
    socket = candidate;
    candidate.setKeepAlive(true, 10_000);
    candidate.on("connect", () => send(candidate, { kind: "hello", machine: nodeRank, machines: nnodes, n }));
    candidate.on("error", () => candidate.destroy());
    candidate.on("close", onClose);
    receive(candidate, isOrder, (order) => {
      orders++;
      inbox.put(order);
    });
  };
  const onClose = (): void => {
    if (closed) return;
    tries++;
    if (orders > 0) {
      elsewhere.stop();
      inbox.fail(new LostMachineError(`the connection to machine 0 (${address}) was lost.`));
    } else if (tries * RETRY_MS > COMING_MS) {
      inbox.fail(
        new LostMachineError(
          `expected machine 0 at ${address}. Received: nothing for ${COMING_MS / 60_000} minutes. Start it there with nodeRank 0, and let this machine reach its port.`,
        ),
      );
    } else {
      if (tries * RETRY_MS === PATIENCE_MS) elsewhere.say(`waiting for machine 0 at ${address}`);
      retry = setTimeout(look, RETRY_MS);
    }
  };
  look();

  return {
    start: () => inbox.start(),
    failed: (code, reason) => socket !== null && send(socket, { kind: "failed", code, reason }),
    signal: (signal) => socket !== null && send(socket, { kind: "signal", signal }),
    ended: (code) => {
      if (socket !== null) send(socket, { kind: "ended", code });
      return inbox.verdict();
    },
    abandon: (error) => inbox.fail(error),
    close: () => {
      closed = true;
      if (retry !== null) clearTimeout(retry);
      socket?.end();
    },
  };
}

/** Machine 0 has gone, or has not come. `code` is ERR_LAUNCH_LOST. */
export class LostMachineError extends NbitError {
  constructor(message: string) {
    super(message, "ERR_LAUNCH_LOST");
  }
}
