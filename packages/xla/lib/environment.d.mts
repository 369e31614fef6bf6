export function isLibtpu(path: string): boolean;
/** Whether this machine has TPUs, or is a cloud machine that may. */
export function mayHaveTpu(): boolean;
/** Variables to be set before a plugin is loaded, unless they are. */
export function environmentFor(path: string): readonly (readonly [name: string, value: string])[];
