/** The code of errors that say that a function was called at the wrong time or with the wrong objects. */
export const MISUSE = "APEX_MISUSE";
