/** The path that the site's addresses begin with, where it is served from a folder of a host: "/nbit/". */
export const BASE = "/";
