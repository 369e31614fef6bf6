/** What the doctor says of plugins. */
import { spawn } from "node:child_process";
import { SetupError } from "@nbit/native/build";
import { findAddon } from "./addon.mjs";
import { pluginPlaces } from "./places.mjs";

export async function examinePlugins() {
  let host = null;
  try {
    findAddon();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    host = `${error.code}: the host of plugins is not built`;
  }
  return Promise.all(
    pluginPlaces().map(async (place) => ({
      ...place,
      ...(place.path === null
        ? { api: null, problem: null }
        : host === null
          ? await ask(place.path)
          : { api: null, problem: host }),
    })),
  );
}

/** A plugin's version, by a process that loads it and ends. */
function ask(path) {
  const source = `
    import { loadAddon } from ${JSON.stringify(new URL("./addon.mjs", import.meta.url).href)};
    import { environmentFor } from ${JSON.stringify(new URL("./environment.mjs", import.meta.url).href)};
    const addon = loadAddon();
    try {
      const { major, minor } = addon.pluginInfo(await addon.load(process.argv[1], environmentFor(process.argv[1])));
      console.log(JSON.stringify({ api: { major, minor }, problem: null }));
    } catch (error) {
      console.log(JSON.stringify({ api: null, problem: error.code + ": " + error.message }));
    }`;
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ["--input-type=module", "-e", source, path], {
      stdio: ["ignore", "pipe", "ignore"],
      timeout: 60_000,
    });
    let said = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (said += text));
    child.on("error", (error) => resolve({ api: null, problem: error.message }));
    child.on("close", (status, signal) => {
      const answer = said.split("\n").find((line) => line.startsWith('{"api"'));
      resolve(
        answer === undefined
          ? { api: null, problem: `loading it ended with ${signal ?? `status ${status}`}` }
          : JSON.parse(answer),
      );
    });
  });
}
