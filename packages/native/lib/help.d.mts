/** The address that the documentation is published at, with a slash at its end; empty until it is. */
export const SITE: string;
/** The command that explains a code, and its page where there is a site. */
export function helpOf(code: string): string;
