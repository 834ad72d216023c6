/** The page in the frame: finds out who embeds it, opens this person's device, shows the conversation. */

import type { RelayApi } from "../api.ts";
import { createCoachRelay } from "../client.ts";
import { type Mounted, mount, type Theme, type Welcome, welcome } from "../element/index.ts";
import { CoachRelayError } from "../errors.ts";
import type { Look, Start } from "../loader/protocol.ts";
import { greet, NotEmbedded, parentOrigin } from "./embedding.ts";
import { Portal } from "./portal.ts";
import { deniedPowers, powersDenied } from "./powers.ts";
import { needStorage, STORAGE_DENIED } from "./storage.ts";
import { fault, tellOfRelay, tellOfRoom } from "./telling.ts";
import { trustOwnWorker } from "./trusted.ts";

const sheet = new CSSStyleSheet();
sheet.replaceSync("html,body,main{height:100%;margin:0}main>p{font:1rem system-ui;padding:1rem}");
document.adoptedStyleSheets = [sheet];
const root = document.createElement("main");
document.body.append(root);

const WAITING = {
  code: "waiting",
  message: "This conversation is open in another tab of this browser. Go on there, or close that tab.",
} as const;

const themeOf = ({ theme, styles }: Look): Theme => ({ scheme: theme, properties: styles });

/** One conversation in this frame, from opening to the end. */
class Session {
  readonly #start: Start;
  readonly #portal: Portal;
  #shown: Mounted | Welcome;
  #relay: RelayApi | null = null;
  #look: Look;

  constructor(start: Start, port: MessagePort) {
    this.#start = start;
    this.#look = start;
    this.#shown = welcome(root, { theme: themeOf(start) });
    this.#portal = new Portal(port, {
      look: (look) => this.#dress(look),
      destroy: () => void this.#leave(),
    });
  }

  async open(): Promise<void> {
    const opening = this.#shown as Welcome;
    const denied = deniedPowers();
    if (denied.length > 0) this.#portal.tell("error", powersDenied(denied));
    try {
      await needStorage();
    } catch {
      opening.failed(STORAGE_DENIED);
      this.#portal.tell("error", STORAGE_DENIED);
      return;
    }
    try {
      const relay = await this.#device(opening);
      this.#relay = relay;
      this.#show(relay);
      await tellOfRoom(await relay.engagement(this.#start.engagement), this.#portal);
    } catch (error) {
      if (!(error instanceof CoachRelayError)) throw error;
      fault(this.#portal, error.code);
      if (this.#relay === null) opening.failed({ code: error.code, message: error.message });
    }
  }

  #device(opening: Welcome): Promise<RelayApi> {
    const { relay: url, name } = this.#start;
    const tokenProvider = (): Promise<string> => this.#portal.token();
    const options = { url, name, tokenProvider, firstUse: opening.firstUse };
    return createCoachRelay(options, (made) => {
      tellOfRelay(made, this.#portal);
      made.on("waiting", () => opening.failed(WAITING));
    });
  }

  #show(relay: RelayApi): void {
    this.#shown = mount(root, relay, {
      engagement: this.#start.engagement,
      theme: themeOf(this.#look),
      happened: (what) => {
        if (what.type === "knock") this.#portal.tell("knock", { user: what.user });
        else this.#portal.tell(what.type, { call: what.call });
      },
    });
    this.#portal.tell("ready", null);
  }

  #dress(look: Look): void {
    this.#look = look;
    this.#shown.setTheme(themeOf(look));
  }

  async #leave(): Promise<void> {
    this.#shown.destroy();
    await this.#relay?.destroy();
    this.#portal.gone();
  }
}

trustOwnWorker();
try {
  const { start, port } = await greet(await parentOrigin());
  await new Session(start, port).open();
} catch (error) {
  if (!(error instanceof NotEmbedded)) throw error;
  const said = document.createElement("p");
  said.setAttribute("role", "alert");
  said.textContent = error.message;
  root.replaceChildren(said);
}
