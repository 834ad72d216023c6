/** What a person calls their devices. */

import { utf8 } from "../bytes.ts";
import { NAME_BYTES } from "../identity/linking.ts";

const decoder = new TextDecoder();

/** A name as it may travel: one line, not too long, never empty. */
export function usableName(name: string): string {
  const line = name.replaceAll(/[\p{C}\p{Z}]+/gu, " ").trim();
  const whole = utf8(line);
  if (whole.length <= NAME_BYTES) return line || "a device";
  // A character that is cut through shows as U+FFFD.
  return decoder.decode(whole.slice(0, NAME_BYTES)).replace(/�+$/u, "").trim() || "a device";
}

/** As in "Chrome, Linux": what a browser is called until its person says otherwise. */
export function browserName(agent: string): string {
  const browser = ["Edg", "Firefox", "Chrome", "Safari"].find((name) => agent.includes(`${name}/`)) ?? "";
  const system =
    ["iPhone", "iPad", "Android", "Windows", "Mac", "Linux"].find((name) => agent.includes(name)) ?? "";
  const parts = [browser.replace("Edg", "Edge"), system].filter((part) => part !== "");
  return parts.join(", ") || "a browser";
}
