/** The socket of the store: bound before any rank starts, so that no other program can take its port meanwhile. */
import { createServer, type Server } from "node:net";
import { ArgumentError, verbatim } from "../../errors.js";

export interface Listener {
  readonly port: number;
  /** For rank 0, which inherits it. */
  readonly fd: number;
  /** Before other ranks start: this process would accept connections that are meant for rank 0. */
  close(): void;
}

/**
 * Listens on a port of an address; on all addresses where that is null, on any free port where the port is 0.
 * @throws {ArgumentError} `ERR_LAUNCH_PORT`: it is taken, or reserved. `ERR_LAUNCH_HOST`: no address of this machine.
 */
export async function listen(host: string | null, port: number): Promise<Listener> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ port, ...(host === null ? {} : { host }) }, resolve);
    });
  } catch (error) {
    throw explainListening(error, host, port);
  }
  const address = server.address();
  const fd = descriptorOf(server);
  if (address === null || typeof address === "string" || fd === null) {
    server.close();
    throw new Error("listen: the socket has no address, or no descriptor");
  }
  return { port: address.port, fd, close: () => void server.close() };
}

/** Node.js has it, and no function that says it. */
function descriptorOf(server: Server): number | null {
  const handle: unknown = Reflect.get(server, "_handle");
  const fd: unknown = typeof handle === "object" && handle !== null ? Reflect.get(handle, "fd") : null;
  return typeof fd === "number" && fd >= 0 ? fd : null;
}

/** What the operating system refuses, as an error that says what helps. */
export function explainListening(error: unknown, host: string | null, port: number): unknown {
  const code: unknown = typeof error === "object" && error !== null && "code" in error ? error.code : null;
  const received = verbatim(`port ${port}${host === null ? "" : ` of ${host}`}: ${String(code)}`);
  switch (code) {
    case "EADDRINUSE":
      return new ArgumentError(
        "launch",
        "masterPort to be free",
        received,
        "Another program listens there: choose another port, or leave it out on one machine.",
        "ERR_LAUNCH_PORT",
      );
    case "EACCES":
      return new ArgumentError(
        "launch",
        "masterPort to be one that this user may open",
        received,
        "Choose one above 1023.",
        "ERR_LAUNCH_PORT",
      );
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return new ArgumentError(
        "launch",
        "masterAddr to be an address of this machine",
        received,
        "On one machine leave it out.",
        "ERR_LAUNCH_HOST",
      );
    default:
      return error;
  }
}
