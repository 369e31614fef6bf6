/** What messages and errors are made of: for programs that say something before they load the rest. */
export { ArgumentError, describe, NbitError } from "./errors.js";
export { plainText, quoted } from "./plain-text.js";
