/** The page of which `npm run pictures` makes pictures: `show(name, scheme)` puts one state on it. */

import { NAMES, type Scene, show } from "./scenes.ts";

let current: Scene | undefined;

Object.assign(globalThis, {
  names: NAMES,
  async show(name: string, scheme: "light" | "dark"): Promise<void> {
    current?.end();
    current = await show(name, { scheme });
  },
});
