/** Given to Node (`--import`) before a script in TypeScript, by `nbit run`: it is read as `nbit fit` reads one. */
import { enableTypeScript } from "../run/typescript.js";

enableTypeScript();
