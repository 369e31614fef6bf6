/** Where an error is explained. Loads nothing: errors of every package end with it. */

/** The address that the documentation is published at, with a slash at its end; empty until it is. */
export const SITE = "";

/**
 * @param {string} code
 * @returns {string} The command that explains a code, and its page where there is a site.
 */
export function helpOf(code) {
  const command = `npx nbit explain-error ${code}`;
  return SITE === "" ? command : `${command} (${SITE}errors.html#${code.toLowerCase()})`;
}
