// What ts-mls brings for suites that are none of ours (src/mls/suites.ts): other curves, ML-DSA, AES-GCM. It asks for it
// in places that never run here, and signatures are libsodium's; without it the bundle is a sixth smaller.
const EXPORTS = {
  "@noble/curves/ed25519.js": ["ed25519"],
  "@noble/curves/ed448.js": ["ed448"],
  "@noble/curves/nist.js": ["p256", "p384", "p521"],
  "@noble/post-quantum/ml-dsa.js": ["ml_dsa87"],
  "@noble/ciphers/aes.js": ["gcm"],
};
const MARK = "\0unused:";

export const withoutUnused = () => ({
  name: "without-unused",
  enforce: "pre",
  resolveId: (id, importer) => (id in EXPORTS && importer?.includes("/ts-mls/") ? `${MARK}${id}` : undefined),
  load(id) {
    if (!id.startsWith(MARK)) return undefined;
    const names = EXPORTS[id.slice(MARK.length)];
    return names.map((name) => `export const ${name} = undefined;`).join("\n");
  },
});
