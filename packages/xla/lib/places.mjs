/** Where the parts of this package are kept, and where plugins are looked for. Nothing here writes or loads. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ask, cacheFolder, inPath } from "@nbit/native/build";

export const packageFolder = join(dirname(fileURLToPath(import.meta.url)), "..");
export const installed = {
  package: packageFolder,
  file: join(packageFolder, "build", "xla.node"),
  record: join(packageFolder, "build", "xla.json"),
};

/** What set-up fetches: the wheel for one Python, which no Python ever imports; its hash is the index's. */
export const TENSORFLOW = {
  name: "tensorflow-cpu",
  version: "2.21.0",
  sha256: "2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c",
};
export const LIBTPU = {
  name: "libtpu",
  version: "0.0.42.1",
  sha256: "4d9975c446f594b0b517510b3db2fc9df65acd9a08f253c638fff5eb6bce163e",
};
export const folderOf = ({ name, version }) => join(cacheFolder(), `${name}-${version}`);

export function sha(...parts) {
  return createHash("sha256").update(parts.join("\0")).digest("hex");
}

/** Names and contents of all sources in a folder of `native`. */
export function sourcesIn(folder) {
  const path = join(packageFolder, "native", folder);
  return readdirSync(path)
    .filter((name) => /\.(cc|h|inc)$/.test(name))
    .sort()
    .map((name) => ({ name: join("native", folder, name), text: readFileSync(join(path, name), "utf8") }));
}

/** The CPU plugin that set-up builds from these sources. */
export function cpuPluginPath() {
  const texts = [...sourcesIn("cpu-plugin"), ...sourcesIn("abi")];
  const key = sha(TENSORFLOW.sha256, ...texts.flatMap(({ name, text }) => [name, text]));
  return join(cacheFolder(), `xla-cpu-${key.slice(0, 16)}`, "pjrt_cpu.so");
}
export const libtpuPath = () => join(folderOf(LIBTPU), "libtpu", "libtpu.so");

// find_spec imports nothing: 40 ms instead of seconds.
const LOCATE =
  "import importlib.util as u; s = u.find_spec('libtpu'); print(s.submodule_search_locations[0] if s and s.submodule_search_locations else '')";

/** libtpu of the active python3, or a sentence. */
function pythonLibtpu() {
  const python = inPath("python3");
  if (python === null) return { place: "libtpu of python3", found: "no python3 in PATH", path: null };
  const folder = ask(python, ["-c", LOCATE]);
  const path = folder ? join(folder, "libtpu.so") : null;
  if (path !== null && existsSync(path)) return { place: path, found: `libtpu of ${python}`, path };
  return { place: `libtpu of ${python}`, found: "not installed", path: null };
}

/**
 * Every place where a plugin is looked for, in order: `PJRT_PLUGIN_LIBRARY_PATH`, what set-up fetched and built, Python's
 * libtpu.
 *
 * @returns {import("./setup.d.mts").PluginPlace[]}
 */
export function pluginPlaces() {
  const named = process.env["PJRT_PLUGIN_LIBRARY_PATH"]?.trim() || null;
  const own = (path, command) => ({
    place: path,
    found: existsSync(path) ? "set up" : `not there: ${command}`,
    path: existsSync(path) ? path : null,
  });
  return [
    {
      platform: null,
      place: named ?? "PJRT_PLUGIN_LIBRARY_PATH",
      found: named === null ? "not set" : existsSync(named) ? "PJRT_PLUGIN_LIBRARY_PATH" : "no such file",
      path: named !== null && existsSync(named) ? named : null,
    },
    { platform: "cpu", ...own(cpuPluginPath(), "nbit setup --xla") },
    { platform: "tpu", ...own(libtpuPath(), "nbit setup --tpu") },
    { platform: "tpu", ...pythonLibtpu() },
  ];
}
