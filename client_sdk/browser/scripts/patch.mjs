// Mends where ts-mls departs from RFC 9420 (docs/MLS.md tells how and why). Runs after each install; each
// patch must fit exactly once, or be there already.
import { readFileSync, writeFileSync } from "node:fs";

const root = new URL("../", import.meta.url);
const patches = JSON.parse(readFileSync(new URL("patches/ts-mls-1.6.4.json", root), "utf8"));
for (const { file, why, find, replace } of patches) {
  const path = new URL(`node_modules/${file}`, root);
  const source = readFileSync(path, "utf8");
  if (source.split(replace).length === 2 && !source.includes(find)) continue;
  if (source.split(find).length !== 2) throw new Error(`a patch does not fit ${file}: ${why}`);
  writeFileSync(
    path,
    source.replace(find, () => replace),
  );
}
