/** Given to Node by `nbit run` (`--import`) before a script in TypeScript: it is read as `nbit fit` reads one. */
import { enableTypeScript } from "../run/typescript.js";

const script = process.argv[1];
if (script !== undefined) await enableTypeScript("run", script);
