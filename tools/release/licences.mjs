/** Licences of what comes with the packages: what npm installs beside them, read from the lock file. */

/** Each may be shipped with Apache-2.0 code, in binary form too, with its text or notice kept. */
const FINE = ["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BlueOak-1.0.0", "ISC", "MIT", "Unlicense"];

/** `(MIT OR GPL-2.0)` is fine where one of them is; `MIT AND ISC` where both are. */
export function isFine(expression) {
  const parts = expression.replace(/[()]/g, "").split(/\s+OR\s+/);
  return parts.some((part) => part.split(/\s+AND\s+/).every((name) => FINE.includes(name)));
}

/**
 * @param {readonly { name: string, manifest: Record<string, any> }[]} packages
 * @param {{ packages: Record<string, any> }} lock
 */
export function faultsOfLicences(packages, lock) {
  const faults = packages
    .filter(({ manifest }) => manifest.license !== "Apache-2.0")
    .map(({ name, manifest }) => `${name} is licensed as ${manifest.license}`);
  const ours = new Set(packages.map(({ name }) => name));
  const seen = new Set();
  const visit = (from, names) => {
    for (const name of names) {
      if (ours.has(name)) continue;
      const key = locate(lock, from, name);
      if (key === null) {
        faults.push(`${name}, which ${from} needs, is not in package-lock.json`);
        continue;
      }
      if (seen.has(key)) continue;
      seen.add(key);
      const { license = "no licence", dependencies = {}, optionalDependencies = {} } = lock.packages[key];
      if (!isFine(license)) faults.push(`${name}, which ${from} needs, is licensed as ${license}`);
      visit(key, Object.keys({ ...dependencies, ...optionalDependencies }));
    }
  };
  for (const { name, manifest } of packages)
    visit(
      Object.keys(lock.packages).find((key) => lock.packages[key].name === name) ?? name,
      Object.keys(manifest.dependencies ?? {}),
    );
  return faults;
}

/** Where the lock file has what `from` gets by this name: the nearest node_modules. */
function locate(lock, from, name) {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf("/")))) {
    const key = folder === "" ? `node_modules/${name}` : `${folder}/node_modules/${name}`;
    if (lock.packages[key] !== undefined) return key;
    if (folder === "") return null;
  }
}
