// What keeps the bundle small without changing what it does.
import { readFileSync } from "node:fs";
import { notePackages } from "./licenses.mjs";
import { fewerFunctions, fewerWrappers } from "./sodium.mjs";

const MARK = "\0instead:";
const unused = (...names) => names.map((name) => `export const ${name} = undefined;`).join("\n");

/** In place of a module, for whoever imports it from a folder: what runs here of it, or nothing where nothing does. */
const INSTEAD = [
  // ts-mls brings these for suites that are none of ours (src/mls/suites.ts), and asks for them in places that never
  // run here; signatures are libsodium's.
  ["/ts-mls/", "@noble/curves/ed25519.js", unused("ed25519")],
  ["/ts-mls/", "@noble/curves/ed448.js", unused("ed448")],
  ["/ts-mls/", "@noble/curves/nist.js", unused("p256", "p384", "p521")],
  ["/ts-mls/", "@noble/post-quantum/ml-dsa.js", unused("ml_dsa87")],
  ["/ts-mls/", "@noble/ciphers/aes.js", unused("gcm")],
  [
    "/ts-mls/",
    "@hpke/core",
    `export { CipherSuite, DhkemX25519HkdfSha256, HkdfSha256, HkdfSha512 } from "@hpke/core";
    ${unused("Aes128Gcm", "Aes256Gcm", "HkdfSha384")}
    ${unused("DhkemP256HkdfSha256", "DhkemP384HkdfSha384", "DhkemP521HkdfSha512")}`,
  ],
  // tus-js-client is given a reader of its own, keeps nothing, and resolves addresses with a package of its own for
  // browsers that cannot.
  ["/tus-js-client/", "url-parse", "export default globalThis.URL;"],
  ["/tus-js-client/", "./fileReader.js", "export default class {}"],
  ["/tus-js-client/", "./fileSignature.js", "export default undefined;"],
  [
    "/tus-js-client/",
    "./urlStorage.js",
    "export const canStoreURLs = false, WebStorageUrlStorage = undefined;",
  ],
  [
    "/tus-js-client/",
    "js-base64",
    "export const Base64 = { encode: (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text))) };",
  ],
];

const withoutUnused = {
  name: "without-unused",
  enforce: "pre",
  resolveId(id, importer) {
    const at = INSTEAD.findIndex(([within, what]) => what === id && importer?.includes(within));
    return at < 0 || importer.startsWith(MARK) ? undefined : `${MARK}${at}`;
  },
  load: (id) => (id.startsWith(MARK) ? INSTEAD[Number(id.slice(MARK.length))][2] : undefined),
};

const smallSodium = {
  name: "small-sodium",
  transform(code, id) {
    if (id.endsWith("/libsodium-wrappers/dist/modules-esm/libsodium-wrappers.mjs"))
      return { code: fewerWrappers(code), map: null };
    if (!id.endsWith("/libsodium/dist/modules-esm/libsodium.mjs")) return undefined;
    const wrappers = id.replace(
      /libsodium\/dist.*/,
      "libsodium-wrappers/dist/modules-esm/libsodium-wrappers.mjs",
    );
    return { code: fewerFunctions(code, fewerWrappers(readFileSync(wrappers, "utf8"))), map: null };
  },
};

// Styles as they are written are for people: indentation goes.
const shortStyles = {
  name: "short-styles",
  enforce: "pre",
  transform(code, id) {
    if (!id.includes("/src/element/") || !code.includes("css`")) return undefined;
    const short = code.replace(/css`[^`]*`/g, (styles) =>
      styles
        .replace(/\/\*[\s\S]*?\*\//g, "")
        .replace(/\s+/g, " ")
        .replace(/ ?([{};,]) ?/g, "$1"),
    );
    return { code: short, map: null };
  },
};

/** Vite's plugins, for a page and for its Worker. */
export const smaller = () => [withoutUnused, smallSodium, shortStyles, notePackages];
