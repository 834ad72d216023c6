/**
 * `<coach-relay>` in a portal's page: a frame of another origin, in which everything that is said stays.
 *
 * The page's scripts get events about what happens and give access tokens; they can read neither what is said nor
 * a key, because browsers keep origins apart. This file is all of ours that runs in the portal's origin.
 */

import { PROPERTIES } from "../element/theme.ts";
import { Channel } from "./channel.ts";
import {
  blocked,
  checkAttributes,
  checkSecure,
  frameAddress,
  icePolicy,
  LoaderError,
  pinned,
} from "./frame.ts";
import { type Details, type EventName, isHello, type Look, THEMES, type Theme, VERSION } from "./protocol.ts";

/** Gives an access token of the portal's user. */
export type TokenProvider = () => Promise<string> | string;

const FEATURES = ["camera", "microphone", "display-capture", "autoplay", "fullscreen"];
/** What the frame may do. It may not navigate the page that it is in. */
const SANDBOX = [
  "allow-scripts",
  "allow-same-origin", // its own origin, without which it could keep nothing
  "allow-forms",
  "allow-modals", // printing the recovery kit
  "allow-downloads",
  "allow-popups", // a link that somebody sent opens in a tab of its own,
  "allow-popups-to-escape-sandbox", // and works there
];
const PATIENCE_MS = 20_000; // for a frame on a slow line to greet
const GOODBYE_MS = 1_000; // for the frame to leave in order
const WATCHED = ["relay", "engagement", "name", "theme", "ice-transport-policy", "frame", "same-origin"];
const STYLE =
  ":host{display:block;height:40rem;max-height:100%}:host([hidden]){display:none}\
iframe{display:block;border:0;width:100%;height:100%;color-scheme:normal}p{font:1rem system-ui;padding:1rem}";

// Where this script came from: the frame's page is beside it unless the element says otherwise.
// A module does not know: then it is looked for.
const tag = document.currentScript ?? document.querySelector('script[src*="coach-relay-loader.js"]');
const script = tag instanceof HTMLScriptElement ? tag.src : "";

/** The element. Its attributes are in docs/EMBEDDING.md. */
export class CoachRelayElement extends HTMLElement {
  static readonly observedAttributes = WATCHED;

  /** Called whenever a token is needed. Without it the event `token-request` asks. */
  tokenProvider: TokenProvider | null = givenBefore(this);

  readonly #root = this.attachShadow({ mode: "closed" });
  #frame: HTMLIFrameElement | null = null;
  #channel: Channel | null = null;
  #stop: AbortController | null = null;
  #scheduled = false;
  #warned = "";

  connectedCallback(): void {
    this.#schedule();
  }

  disconnectedCallback(): void {
    this.#end();
  }

  attributeChangedCallback(name: string, before: string | null, now: string | null): void {
    if (before === now || !this.isConnected) return;
    if (name === "theme" && this.#channel !== null) this.restyle();
    else this.#schedule();
  }

  /** The custom properties of this element may have changed: pass them on. */
  restyle(): void {
    this.#channel?.post({ kind: "look", ...this.#look() });
  }

  /** Leave in order (a call ends, what waits is kept) and take the frame away. */
  async destroy(): Promise<void> {
    const channel = this.#channel;
    if (channel !== null) {
      const patience = new Promise((resolve) => setTimeout(resolve, GOODBYE_MS));
      await Promise.race([channel.goodbye(), patience]);
    }
    this.#end();
    this.remove();
  }

  /** Several attributes that are set one after the other begin one frame. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      if (this.isConnected) this.#begin();
    });
  }

  #begin(): void {
    this.#end();
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    this.#root.adoptedStyleSheets = [sheet];
    try {
      checkSecure();
      checkAttributes(this.getAttribute("relay"), this.getAttribute("engagement"));
      icePolicy(this.getAttribute("ice-transport-policy"));
      this.#open(frameAddress(this.getAttribute("frame"), script, this.hasAttribute("same-origin")));
    } catch (error) {
      if (!(error instanceof LoaderError)) throw error;
      this.#refuse(error);
    }
  }

  #open(address: URL): void {
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    const frame = document.createElement("iframe");
    frame.title = "Coach Relay";
    frame.setAttribute("sandbox", SANDBOX.join(" "));
    frame.allow = FEATURES.map((feature) => `${feature} ${address.origin}`).join("; ");
    frame.referrerPolicy = "no-referrer";
    frame.src = address.href;
    const trusted = pinned(address);
    // Whether it can be trusted is asked once; the frame may greet again, when it loads itself anew.
    trusted.catch((error: LoaderError) => signal.aborted || this.#refuse(error));
    const forbids = (event: SecurityPolicyViolationEvent): void => {
      const error = blocked(address, event);
      if (error !== null) this.#refuse(error);
    };
    document.addEventListener("securitypolicyviolation", forbids, { signal });
    const late = setTimeout(() => this.#refuse(silent(address)), PATIENCE_MS);
    signal.addEventListener("abort", () => clearTimeout(late));
    const listen = (event: MessageEvent<unknown>): void => {
      if (event.source !== frame.contentWindow || event.origin !== address.origin) return;
      if (!isHello(event.data)) return;
      clearTimeout(late);
      void trusted.then(
        () => signal.aborted || this.#greet(frame, address.origin),
        () => undefined, // refused already, above
      );
    };
    window.addEventListener("message", listen, { signal });
    this.#frame = frame;
    this.#root.replaceChildren(frame);
  }

  #greet(frame: HTMLIFrameElement, origin: string): void {
    this.#channel?.close();
    const { port1, port2 } = new MessageChannel();
    this.#channel = new Channel(port1, {
      token: () => this.#token(),
      happened: (event, detail) => this.#tell(event, detail),
    });
    const text = (name: string): string => this.getAttribute(name) ?? "";
    const iceTransportPolicy = icePolicy(this.getAttribute("ice-transport-policy"));
    const start = {
      relay: text("relay"),
      engagement: text("engagement"),
      name: text("name"),
      iceTransportPolicy,
    };
    frame.contentWindow?.postMessage(
      { coachRelay: VERSION, kind: "start", ...start, ...this.#look() },
      { targetOrigin: origin, transfer: [port2] },
    );
  }

  #look(): Look {
    const theme = this.getAttribute("theme") as Theme;
    const computed = getComputedStyle(this);
    const styles = PROPERTIES.map((name) => [name, computed.getPropertyValue(name).trim()] as const);
    return {
      theme: THEMES.includes(theme) ? theme : "auto",
      styles: Object.fromEntries(styles.filter(([, value]) => value !== "")),
    };
  }

  async #token(): Promise<string> {
    const answer = this.#asked() ?? (await loaded().then(() => this.#asked())); // its script may come later
    if (answer === null)
      throw new LoaderError("token_provider_missing", "nobody gives any: set the element's tokenProvider.");
    return await answer;
  }

  #asked(): Promise<string> | string | null {
    if (this.tokenProvider !== null) return this.tokenProvider();
    let answer: Promise<string> | string | null = null;
    const respondWith = (token: Promise<string> | string): void => {
      answer = token;
    };
    this.#dispatch("token-request", { respondWith });
    return answer;
  }

  #tell<E extends EventName>(event: E, detail: Details[E]): void {
    if (event === "error") this.#warn(detail as Details["error"]);
    if (event === "unread") this.setAttribute("unread", String((detail as Details["unread"]).count));
    this.#dispatch(event, detail);
  }

  #dispatch(event: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(event, { detail }));
  }

  /** What comes again and again is said once. */
  #warn({ code, message }: Details["error"]): void {
    const said = `Coach Relay: ${code}: ${message}`;
    // biome-ignore lint/suspicious/noConsole: it is where a portal's developer looks
    if (said !== this.#warned) console.warn(said);
    this.#warned = said;
  }

  /** Loudly: in the page, in the console, and as an event. */
  #refuse(error: LoaderError): void {
    this.#end();
    const said = document.createElement("p");
    said.setAttribute("role", "alert");
    said.textContent = error.message;
    this.#root.replaceChildren(said);
    reportError(error);
    // Scripts that come after this one listen too.
    void loaded().then(() => this.#dispatch("error", { code: error.code, message: error.message }));
  }

  #end(): void {
    this.#stop?.abort();
    this.#stop = null;
    this.#channel?.close();
    this.#channel = null;
    this.#frame?.remove();
    this.#frame = null;
  }
}

/** What a script gave the element before this one defined it. */
const givenBefore = (element: { tokenProvider?: TokenProvider | null }): TokenProvider | null =>
  element.tokenProvider ?? null;

/** When all scripts of the page have run. */
const loaded = async (): Promise<void> => {
  if (document.readyState === "complete") return;
  await new Promise((resolve) => window.addEventListener("load", resolve, { once: true }));
};

const silent = (address: URL): LoaderError =>
  new LoaderError(
    "frame_silent",
    `The frame ${address.origin}${address.pathname} did not answer. Does its frame-ancestors name ${location.origin}, ` +
      "and each page around this one (coach-relay portal set-origins)? What the frame shows says more.",
  );
