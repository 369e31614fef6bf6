import { SITE } from "../packages/native/lib/help.mjs";

/** The path that the site's addresses begin with: that of its one address, such as `/nbit/`; `/` until it has one. */
export const BASE = SITE === "" ? "/" : new URL(SITE).pathname;
