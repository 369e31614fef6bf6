/** Machine 0's part: it waits for the others, starts all ranks together, and ends all when one of them fails. */
import { createServer, type Server, type Socket } from "node:net";
import { explainListening, listen, type Listener } from "./listener.js";
import { isReport, receive, send, type Order, type Report } from "./machine-messages.js";
import type { Elsewhere, Inbox, Machines, Start, Verdict } from "./machines.js";
import type { Settings } from "./options.js";

interface Machine {
  readonly n: number;
  readonly give: (order: Order) => void;
  /** Its exit code; null: its ranks run. */
  ended: number | null;
}

/** After it, who is waited for is said, once. */
const PATIENCE_MS = 10_000;

export class Coordinator implements Machines {
  readonly #machines = new Map<number, Machine>();
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;
  #listener: Listener | null;
  #running = false;
  #restart = 0;
  #failure: { readonly code: number; readonly reason: string } | null = null;
  /** A machine has gone, or was asked to end: nothing starts again. */
  #final = false;
  readonly #patience: NodeJS.Timeout;

  private constructor(
    readonly settings: Settings,
    readonly inbox: Inbox,
    readonly elsewhere: Elsewhere,
    listener: Listener,
  ) {
    this.#listener = listener;
    this.#patience = setTimeout(() => this.#sayMissing(), PATIENCE_MS);
    this.#patience.unref();
  }

  static async open(settings: Settings, inbox: Inbox, elsewhere: Elsewhere): Promise<Coordinator> {
    const coordinator = new Coordinator(settings, inbox, elsewhere, await storeListener(settings));
    try {
      if (settings.nnodes > 1) await coordinator.#serve();
    } catch (error) {
      coordinator.close();
      throw error;
    }
    return coordinator;
  }

  start(): Promise<Start> {
    // Its own ranks take part once this machine waits for them.
    if (!this.#machines.has(0))
      this.#join(0, this.settings.n, (order) => this.inbox.put(order, order.kind === "start" ? this.#listener : null));
    return this.inbox.start();
  }

  failed(code: number, reason: string): void {
    this.#report(0, { kind: "failed", code, reason });
  }

  signal(signal: string): void {
    this.#report(0, { kind: "signal", signal });
  }

  ended(code: number): Promise<Verdict> {
    this.#report(0, { kind: "ended", code });
    return this.inbox.verdict();
  }

  abandon(error: Error): void {
    this.inbox.fail(error);
  }

  close(): void {
    clearTimeout(this.#patience);
    this.#listener?.close();
    this.#server?.close();
    // What was written last is sent before the end.
    for (const socket of this.#sockets) socket.end();
  }

  async #serve(): Promise<void> {
    const server = createServer((socket) => this.#welcome(socket));
    this.#server = server;
    const { masterPort } = this.settings;
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error) => reject(explainListening(error, null, masterPort)));
      server.listen({ port: masterPort }, resolve);
    });
  }

  /** Somebody connects: a machine that says which, or nobody of ours. */
  #welcome(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setKeepAlive(true, 10_000);
    let machine: number | null = null;
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      this.#sockets.delete(socket);
      if (machine !== null) this.#lost(machine);
    });
    receive(socket, isReport, (report) => {
      if (machine !== null) {
        this.#report(machine, report);
        return;
      }
      const problem =
        report.kind === "hello" ? this.#problemWith(report) : "somebody who did not say which machine it is";
      if (problem === null && report.kind === "hello") {
        machine = report.machine;
        this.#join(machine, report.n, (order) => send(socket, order));
      } else {
        send(socket, { kind: "refused", reason: problem ?? "" });
        socket.end();
      }
    });
  }

  #problemWith({ machine, machines, n }: Extract<Report, { kind: "hello" }>): string | null {
    const { nnodes } = this.settings;
    if (machines !== nnodes) return `nnodes ${machines} on machine ${machine}, and ${nnodes} on machine 0`;
    if (machine < 1 || machine >= nnodes) return `nodeRank ${machine} of ${nnodes} machines`;
    if (n < 1 || n > 65536) return `n ${n} on machine ${machine}`;
    if (this.#running) return `machine ${machine} once more, while its ranks run`;
    return this.#machines.has(machine) ? `nodeRank ${machine} twice` : null;
  }

  #join(machine: number, n: number, give: (order: Order) => void): void {
    this.#machines.set(machine, { n, give, ended: null });
    if (this.#machines.size === this.settings.nnodes) this.#startAll();
  }

  #startAll(): void {
    clearTimeout(this.#patience);
    this.#running = true;
    const port = this.#listener?.port ?? 0;
    const all = [...this.#machines].sort(([a], [b]) => a - b).map(([, machine]) => machine);
    const worldSize = all.reduce((sum, { n }) => sum + n, 0);
    let firstRank = 0;
    for (const machine of all) {
      machine.ended = null;
      machine.give({ kind: "start", restart: this.#restart, port, firstRank, worldSize });
      firstRank += machine.n;
    }
  }

  #report(from: number, report: Report): void {
    switch (report.kind) {
      case "failed":
        this.#fail(report.code, from === 0 ? report.reason : `${report.reason}, on machine ${from}`);
        break;
      case "signal":
        this.#final = true;
        for (const [to, { give }] of this.#machines) if (to !== from) give(report);
        break;
      case "ended": {
        const machine = this.#machines.get(from);
        if (machine === undefined || !this.#running) return;
        machine.ended = report.code;
        this.#decide();
        break;
      }
      case "hello": // twice: it has said so already
    }
  }

  #fail(code: number, reason: string): void {
    if (this.#failure !== null || !this.#running) return;
    this.#failure = { code, reason };
    for (const { give } of this.#machines.values()) give({ kind: "stop" });
  }

  #lost(machine: number): void {
    const lost = this.#machines.get(machine);
    if (lost === undefined) return;
    if (!this.#running) {
      this.#machines.delete(machine); // it may come again
      return;
    }
    this.#final = true;
    this.#fail(1, `the connection to machine ${machine} was lost`);
    lost.ended ??= 1;
    this.#decide();
  }

  /** All ranks of all machines have ended: how it went. */
  #decide(): void {
    const codes = [...this.#machines.values()].map(({ ended }) => ended);
    if (!this.#running || codes.includes(null)) return;
    this.#running = false;
    const failure = this.#failure;
    const again = failure !== null && !this.#final && this.#restart < this.settings.maxRestarts;
    const code = failure?.code ?? codes.find((one) => one !== 0) ?? 0;
    for (const { give } of this.#machines.values())
      give({ kind: "verdict", code, again, reason: failure?.reason ?? null });
    if (again) void this.#again();
  }

  async #again(): Promise<void> {
    this.#restart++;
    this.#failure = null;
    try {
      this.#listener?.close();
      this.#listener = await storeListener(this.settings);
      this.#startAll();
    } catch (error) {
      for (const [machine, { give }] of this.#machines)
        if (machine !== 0) give({ kind: "refused", reason: "machine 0 has no port for the store" });
      this.inbox.fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #sayMissing(): void {
    const missing = Array.from({ length: this.settings.nnodes }, (_, i) => i).filter((i) => !this.#machines.has(i));
    if (missing.length > 0)
      this.elsewhere.say(`waiting for machine${missing.length === 1 ? "" : "s"} ${missing.join(", ")}`);
  }
}

/** The store's socket: where several machines meet, its port is any free one, which they are told. */
function storeListener({ nnodes, masterAddr, masterPort }: Settings): Promise<Listener> {
  return nnodes === 1 ? listen(masterAddr, masterPort) : listen(null, 0);
}
