/** A relay between a client and a server, which delays, stalls, or cuts what passes. */
import { createServer, connect, type Server, type Socket } from "node:net";

type Direction = "up" | "down";

export class Relay {
  readonly #server: Server;
  readonly #pairs = new Set<readonly [client: Socket, server: Socket]>();
  readonly #stalled = new Set<Direction>();
  #delay = 0;

  private constructor(target: number) {
    this.#server = createServer({ allowHalfOpen: true }, (client) => {
      const server = connect({ port: target, host: "127.0.0.1", allowHalfOpen: true });
      const pair = [client, server] as const;
      this.#pairs.add(pair);
      this.#forward(client, server, "up");
      this.#forward(server, client, "down");
    });
  }

  static async to(target: number): Promise<Relay> {
    const relay = new Relay(target);
    await new Promise<void>((resolve) => relay.#server.listen(0, "127.0.0.1", resolve));
    return relay;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address !== "object") throw new Error("the relay does not listen");
    return address.port;
  }

  /** Whatever comes is sent on so many milliseconds later. */
  delay(milliseconds: number): void {
    this.#delay = milliseconds;
  }
  /** From now on nothing passes in these directions, and nobody is told. */
  stall(...directions: Direction[]): void {
    for (const direction of directions) this.#stalled.add(direction);
  }
  /** Every connection ends with a reset, on both sides. */
  reset(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.resetAndDestroy();
  }
  close(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
    this.#server.close();
  }

  #forward(from: Socket, to: Socket, direction: Direction): void {
    from.on("data", (bytes: Buffer) => {
      setTimeout(() => {
        if (!this.#stalled.has(direction)) to.write(bytes);
      }, this.#delay);
    });
    from.on("end", () => {
      setTimeout(() => {
        if (!this.#stalled.has(direction)) to.end();
      }, this.#delay);
    });
    // An end that is not in order is handed on as one.
    from.on("error", () => {
      if (!this.#stalled.has(direction)) to.resetAndDestroy();
    });
  }
}
