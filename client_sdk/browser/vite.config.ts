import { defineConfig } from "vite";
// @ts-expect-error: a plain script, without types
import { withoutUnused } from "./scripts/unused.mjs";

export default defineConfig({
  plugins: [withoutUnused()],
  build: {
    target: "es2022",
    lib: { entry: "src/index.ts", formats: ["es"], fileName: "coach-relay" },
    rolldownOptions: { output: { codeSplitting: false } },
  },
  worker: {
    format: "es",
    plugins: () => [withoutUnused()],
    rolldownOptions: { output: { codeSplitting: false } },
  },
});
