/** What the one script tag runs. */

import { CoachRelayElement } from "./loader.ts";

if (customElements.get("coach-relay") === undefined) customElements.define("coach-relay", CoachRelayElement);
