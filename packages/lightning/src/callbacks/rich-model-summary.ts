import { ModelSummary } from "./model-summary.js";

/** {@link ModelSummary}, whose table is drawn for the terminal already, under the name of Lightning's other one. */
export class RichModelSummary extends ModelSummary {}
