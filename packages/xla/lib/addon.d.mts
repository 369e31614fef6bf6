/** A new environment of the host of plugins: `Addon` of `src/native.ts`. */
export function loadAddon(): object;
