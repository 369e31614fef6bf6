/** The settings of a run, kept with what it leaves. */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import {
  Callback,
  MisconfigurationError,
  type LightningModule,
  type TrainerFn,
  type TrainerView,
} from "@nbit/lightning";
import { splitConfig } from "../settings/split.js";
import { atMost, checkOptions, kinds, type OptionNames, writeText } from "@nbit/torch";

export interface SaveConfigOptions {
  /** Default "config.yaml". */
  readonly configFilename?: string;
  /** Replace a file of that name with other settings. Default false: this one gets a number, `config-1.yaml`. */
  readonly overwrite?: boolean;
  /**
   * Sections that stood in files of their own (`--model model.yaml`) are kept in files of those names again, and
   * `configFilename` names them. LightningCLI says which; a map says it oneself: `{ model: "model.yaml" }`. Default
   * false: one file has it all.
   */
  readonly multifile?: boolean | Readonly<Record<string, string>>;
  /** False: {@link SaveConfigCallback.saveConfig} of a class of your own saves it elsewhere. Default true. */
  readonly saveToLogDir?: boolean;
}
const FILES = kinds.such<Readonly<Record<string, string>>>(
  "names of files by section",
  (v) => kinds.record.accepts(v) && Object.values(v as object).every((name) => /^[^/\\]+$/.test(String(name))),
);
const NAMES: OptionNames<SaveConfigOptions> = {
  configFilename: kinds.filled,
  overwrite: kinds.flag,
  multifile: kinds.either(kinds.flag, FILES),
  saveToLogDir: kinds.flag,
};

/**
 * Writes the settings of a fit into the folder of its log, before anything else runs: `nbit fit --config
 * <folder>/config.yaml` repeats it. Without a logger that has a folder nothing is written.
 *
 * @param config - The settings as YAML, or what gives them when the fit begins.
 * @example
 * class KeepElsewhere extends SaveConfigCallback {
 *   override saveConfig(trainer: TrainerView) { void trainer.logger?.logHyperparams({ config: this.config }); }
 * }
 */
export class SaveConfigCallback extends Callback {
  readonly configFilename: string;
  readonly overwrite: boolean;
  readonly multifile: boolean | Readonly<Record<string, string>>;
  readonly saveToLogDir: boolean;
  readonly #config: string | (() => string);
  /** Where it was written; null: not yet. */
  savedPath: string | null = null;
  #saved = false;

  constructor(config: string | (() => string), options: SaveConfigOptions = {}) {
    atMost("SaveConfigCallback", arguments, 2);
    super();
    checkOptions("SaveConfigCallback", options, NAMES);
    if (typeof config !== "string" && typeof config !== "function")
      throw new MisconfigurationError("SaveConfigCallback", "config to be YAML, or a function that returns it", config);
    this.#config = config;
    this.configFilename = options.configFilename ?? "config.yaml";
    this.overwrite = options.overwrite ?? false;
    this.multifile = options.multifile ?? false;
    this.saveToLogDir = options.saveToLogDir ?? true;
    const own = this.saveConfig !== SaveConfigCallback.prototype.saveConfig;
    if (!this.saveToLogDir && !own)
      throw new MisconfigurationError(
        "SaveConfigCallback",
        "a class with its own saveConfig, where saveToLogDir is false",
        this.saveToLogDir,
      );
  }

  /** The settings as YAML. */
  get config(): string {
    return typeof this.#config === "string" ? this.#config : this.#config();
  }

  override setup(trainer: TrainerView, module: LightningModule, stage: TrainerFn): void {
    if (this.#saved || stage !== "fit" || trainer.fastDevRun !== false || !trainer.isGlobalZero) return;
    const folder = trainer.logger?.logDir ?? null;
    if (this.saveToLogDir && folder !== null) {
      mkdirSync(folder, { recursive: true });
      const write = (name: string, text: string): string => {
        const path = this.#place(folder, text, name);
        writeText("SaveConfigCallback", path, text);
        return path;
      };
      const files = typeof this.multifile === "object" ? this.multifile : {};
      const main = splitConfig(this.config, files, (name, text) => basename(write(name, text)));
      this.savedPath = write(this.configFilename, main);
    }
    this.saveConfig(trainer, module, stage);
    this.#saved = true;
  }

  /** For classes of your own: keep the settings in another place, too. In process 0 only; it must not wait for others. */
  saveConfig(_trainer: TrainerView, _module: LightningModule, _stage: TrainerFn): void {}

  /** An earlier run's settings keep their file. */
  #place(folder: string, config: string, name: string): string {
    const [, stem = name, end = ""] = /^(.*?)(\.[^.]*)?$/.exec(name) ?? [];
    for (let n = 0; ; n++) {
      const path = join(folder, n === 0 ? name : `${stem}-${n}${end}`);
      if (this.overwrite || !existsSync(path) || sameSettings(readFileSync(path, "utf8"), config)) return path;
    }
  }
}

/** Comments say when and by what. */
function sameSettings(a: string, b: string): boolean {
  const bare = (text: string): string => text.replaceAll(/^#.*\n/gm, "");
  return bare(a) === bare(b);
}
