// The files that a page loads, in dist/release: the loader, the frame's page with its one script, the SDK for those
// who build their own interface with its types, the licences of what is in them, and the SHA-384 of each. The loader
// pins frame.html, which pins frame.js.
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { licenses, WHERE } from "./licenses.mjs";
import { smaller } from "./smaller.mjs";

const root = new URL("../", import.meta.url);
const release = new URL("dist/release/", root);
const { version } = JSON.parse(readFileSync(new URL("package.json", root), "utf8"));

const integrity = (name) =>
  `sha384-${createHash("sha384")
    .update(readFileSync(new URL(name, release)))
    .digest("base64")}`;

const bundle = (entry, fileName, format, define = {}) =>
  build({
    root: fileURLToPath(root),
    configFile: false,
    logLevel: "error",
    define,
    plugins: smaller(),
    build: {
      target: "es2022",
      outDir: fileURLToPath(release),
      emptyOutDir: false,
      modulePreload: false,
      rolldownOptions: {
        input: fileURLToPath(new URL(entry, root)),
        output: { format, entryFileNames: fileName, codeSplitting: false },
      },
    },
    worker: {
      format: "es",
      plugins: () => smaller(),
      rolldownOptions: { output: { codeSplitting: false } },
    },
  });

rmSync(release, { recursive: true, force: true });
mkdirSync(release, { recursive: true });
await bundle("src/frame/main.ts", "frame.js", "es");
const frame = new URL("frame.js", release);
writeFileSync(frame, `${WHERE}\n${readFileSync(frame, "utf8")}`);
writeFileSync(
  new URL("frame.html", release),
  readFileSync(new URL("src/frame/frame.html", root), "utf8").replace(
    "FRAME_SCRIPT_INTEGRITY",
    integrity("frame.js"),
  ),
);
await bundle("src/loader/main.ts", "coach-relay-loader.js", "iife", {
  FRAME_INTEGRITY: JSON.stringify(integrity("frame.html")),
});
writeFileSync(new URL("licenses.txt", release), licenses());
copyFileSync(new URL("dist/coach-relay.js", root), new URL("coach-relay.js", release));
const types = ["src/api.ts", "src/shipped.d.ts"].map((name) => readFileSync(new URL(name, root), "utf8"));
writeFileSync(new URL("coach-relay.d.ts", release), types.join("\n").replace(/^import .*\n\n/gm, ""));

// What it was built from, so that nobody builds it again needlessly (hatch_build.py computes the same).
const sources = ["src", "scripts", "patches"].flatMap((folder) =>
  readdirSync(new URL(`${folder}/`, root), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(fileURLToPath(root), join(entry.parentPath, entry.name)).replaceAll("\\", "/")),
);
const byName = (a, b) => (a < b ? -1 : 1);
const digest = createHash("sha256");
for (const name of [...sources, "package.json", "package-lock.json", "vite.config.ts"].sort(byName)) {
  const content = readFileSync(new URL(name, root));
  digest.update(`${name}\n${content.length}\n`).update(content);
}
writeFileSync(new URL(".sources", release), `${digest.digest("hex")}\n`);

const files = readdirSync(release)
  .filter((name) => /^[a-z]/.test(name))
  .sort();
const hashes = Object.fromEntries(files.map((name) => [name, integrity(name)]));
writeFileSync(new URL("hashes.json", release), `${JSON.stringify({ version, files: hashes }, null, 2)}\n`);
