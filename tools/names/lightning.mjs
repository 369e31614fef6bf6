/** Lightning's names, looked up in the public types: fields, options and positional arguments stand only there. */
import { camel } from "./camel.mjs";
import { PublicTypes } from "./types.mjs";

/** Namespaces of members, and the classes here that have them. */
const MEMBERS = {
  Trainer: "Trainer",
  LightningModule: "LightningModule",
  LightningDataModule: "LightningDataModule",
  Callback: "Callback",
  Tuner: "Tuner",
};

export const lightning = {
  title: "Lightning",
  of: "Lightning's names",
  page: "names-lightning.md",
  collector: "collect-lightning.py",
  places: "places-lightning.json",
  rule: "A name in camelCase is the rule (`Trainer.log_dir` is `trainer.logDir`, `seed_everything` is `seedEverything`; classes keep their names), exported by @nbit/lightning, and is not listed below. A name with `()` is the arguments of a constructor or function: by position, or as an option.",
  titleOf: (space) => space,
  async finder() {
    const types = new PublicTypes(["@nbit/lightning", "@nbit/torch", "nbit"]);
    const taken = new Map();
    return (space, name) => {
      const own = camel(name.split(".").at(-1));
      if (space.endsWith("()")) {
        const path = space.slice(0, -2).split(".").map(camel).join(".");
        if (!taken.has(path)) taken.set(path, types.argumentsOf(path));
        return taken.get(path).has(own);
      }
      return MEMBERS[space] === undefined ? types.exported(own) : types.member(MEMBERS[space], own);
    };
  },
};
