import { defineConfig } from "vite";
// @ts-expect-error: a plain script, without types
import { WHERE } from "./scripts/licenses.mjs";
// @ts-expect-error: a plain script, without types
import { smaller } from "./scripts/smaller.mjs";

export default defineConfig({
  plugins: smaller(),
  build: {
    target: "es2022",
    lib: { entry: "src/index.ts", formats: ["es"], fileName: "coach-relay" },
    rolldownOptions: { output: { codeSplitting: false, banner: WHERE } },
  },
  worker: {
    format: "es",
    plugins: () => smaller(),
    rolldownOptions: { output: { codeSplitting: false } },
  },
});
