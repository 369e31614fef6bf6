/** Columns of text in a terminal. */

/** Text of which each unit is one column: ASCII, and the signs that our own words have. */
const NARROW = /^[\x20-\x7e\xa1-\xac\xae-\u02ff\u2010-\u2027\u2030-\u205e\u2200-\u22ff]*$/;

let measure = (text: string): number => text.length;

/**
 * Measure other people's words, too, from here on: wide characters and emoji as two columns. Without it help begins
 * sooner, since what measures them takes longer to load than all the rest of it.
 */
export async function measureWide(): Promise<void> {
  measure = (await import("string-width")).default;
}

export const widthOf = (text: string): number => (NARROW.test(text) ? text.length : measure(text));
