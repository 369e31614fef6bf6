/** Finds the Python peer. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

export const peerScript = fileURLToPath(new URL("../peer.py", import.meta.url));

export interface Peer {
  readonly python: string;
  readonly versions: { readonly python: string; readonly torch: string; readonly lightning: string; readonly capability: string };
}

function ask(python: string): Peer["versions"] | null {
  const result = spawnSync(python, [peerScript, "versions"], { encoding: "utf8" });
  if (result.status !== 0) return null;
  return JSON.parse(result.stdout) as Peer["versions"];
}

/** `NBIT_PEER_PYTHON`, else `python3` when it has torch and lightning; null with a sentence on what to do. */
export function findPeer(): Peer | { readonly missing: string } {
  const named = process.env["NBIT_PEER_PYTHON"];
  const python = named ?? "python3";
  const versions = ask(python);
  if (versions !== null) return { python, versions };
  return {
    missing: `${named === undefined ? "python3 has" : `NBIT_PEER_PYTHON=${named} has`} no torch and lightning, and a benchmark is a comparison.\n` +
      "  Fix: python3 -m venv peer && peer/bin/pip install 'torch==2.13.0' 'lightning==2.6.6' && NBIT_PEER_PYTHON=peer/bin/python npm run bench",
  };
}
