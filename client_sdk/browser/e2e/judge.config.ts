import { defineConfig } from "vite";

// The parsers as a program of Node: tests/abuse asks them what they make of bytes.
export default defineConfig({
  build: { ssr: "e2e/judge.ts", target: "es2022", minify: false, emptyOutDir: true },
  ssr: { noExternal: true },
});
