import { defineConfig } from "vite";

// The engine as a program of Node, for tests that have a clock and a network of their own.
export default defineConfig({
  build: { ssr: "e2e/peer.ts", target: "es2022", minify: false, emptyOutDir: true },
  ssr: { noExternal: true },
});
