/** Who embeds this frame: known from the header that the browser holds everybody to, and from nothing else. */

import { type Hello, type Start, VERSION } from "../loader/protocol.ts";
import { ancestorsOf, isOrigin, parseStart } from "./parsing.ts";

/** Why this frame shows nothing; the message is for the portal's developer. */
export class NotEmbedded extends Error {
  override readonly name = "NotEmbedded";
}

/** The one origin whose page this frame speaks with. Raises NotEmbedded. */
export async function parentOrigin(): Promise<string> {
  if (window.parent === window)
    throw new NotEmbedded("This page belongs inside a coaching portal's page. Open it from there.");
  const parent = new URLSearchParams(location.search).get("parent") ?? "";
  if (!isOrigin(parent)) throw new NotEmbedded("The page around this frame did not say which one it is.");
  // The browser has compared frame-ancestors with every page around this frame before it showed it. A server
  // that sends no such header leaves the frame open to any page: then nothing is shown.
  const answer = await fetch(location.href, { cache: "force-cache", credentials: "same-origin" });
  const allowed = ancestorsOf(answer.headers.get("content-security-policy"));
  if (allowed.size === 0)
    throw new NotEmbedded(
      "This frame is served without a Content-Security-Policy that names its portal's origins in frame-ancestors.",
    );
  if (!allowed.has(parent))
    throw new NotEmbedded(`The origin ${parent} is not one of those that may show this frame.`);
  return parent;
}

/** Greet the page around this frame, and wait for its answer and its end of the channel. */
export function greet(origin: string): Promise<{ readonly start: Start; readonly port: MessagePort }> {
  return new Promise((resolve) => {
    const listen = (event: MessageEvent<unknown>): void => {
      if (event.source !== window.parent || event.origin !== origin) return;
      const [port] = event.ports;
      const start = parseStart(event.data);
      if (start === null || port === undefined || event.ports.length !== 1) return;
      window.removeEventListener("message", listen); // once: nobody hands in another channel
      resolve({ start, port });
    };
    window.addEventListener("message", listen);
    const hello: Hello = { coachRelay: VERSION, kind: "hello" };
    window.parent.postMessage(hello, origin);
  });
}
