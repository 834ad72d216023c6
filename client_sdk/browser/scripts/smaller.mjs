// What keeps the bundle small without changing what it does.
import { deflateRawSync } from "node:zlib";

// ts-mls brings these for suites that are none of ours (src/mls/suites.ts), and asks for them in places that never run
// here; signatures are libsodium's.
const UNUSED = {
  "@noble/curves/ed25519.js": ["ed25519"],
  "@noble/curves/ed448.js": ["ed448"],
  "@noble/curves/nist.js": ["p256", "p384", "p521"],
  "@noble/post-quantum/ml-dsa.js": ["ml_dsa87"],
  "@noble/ciphers/aes.js": ["gcm"],
};
const MARK = "\0unused:";

const withoutUnused = {
  name: "without-unused",
  enforce: "pre",
  resolveId: (id, importer) => (id in UNUSED && importer?.includes("/ts-mls/") ? `${MARK}${id}` : undefined),
  load(id) {
    if (!id.startsWith(MARK)) return undefined;
    const names = UNUSED[id.slice(MARK.length)];
    return names.map((name) => `export const ${name} = undefined;`).join("\n");
  },
};

// libsodium holds its WebAssembly as base64, which packs badly on its way: it is packed before, and unpacked here.
const DECODED = /\(A=>\{for\(var [^}]{1,400}\}\)\("([A-Za-z0-9+/=]{100000,})"\)/;
const UNPACK = `
const unpacked = async (packed) => {
  const bytes = new Blob([Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0))]).stream();
  const whole = new Response(bytes.pipeThrough(new DecompressionStream("deflate-raw")));
  return new Uint8Array(await whole.arrayBuffer());
};
`;

const packedWasm = {
  name: "packed-wasm",
  transform(code, id) {
    if (!id.endsWith("/libsodium/dist/modules-esm/libsodium.mjs")) return undefined;
    const found = DECODED.exec(code);
    if (found === null) throw new Error("libsodium.mjs is not as it was: scripts/smaller.mjs does not fit");
    const packed = deflateRawSync(Buffer.from(found[1], "base64"), { level: 9 }).toString("base64");
    return { code: `${UNPACK}${code.replace(found[0], () => `await unpacked("${packed}")`)}`, map: null };
  },
};

/** Vite's plugins, for a page and for its Worker. */
export const smaller = () => [withoutUnused, packedWasm];
