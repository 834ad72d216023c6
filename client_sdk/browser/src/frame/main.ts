/** The page in the frame: finds out who embeds it, opens this person's device, shows the conversation. */

import type { RelayApi, RoomApi } from "../api.ts";
import { createCoachRelay } from "../client.ts";
import { type Mounted, mount, type Theme, type Welcome, welcome } from "../element/index.ts";
import { CoachRelayError } from "../errors.ts";
import type { Look, Start } from "../loader/protocol.ts";
import { greet, NotEmbedded, parentOrigin } from "./embedding.ts";
import { fault, notIn, UNAVAILABLE } from "./faults.ts";
import { Portal } from "./portal.ts";
import { deniedPowers, powersDenied } from "./powers.ts";
import { needStorage, STORAGE_DENIED } from "./storage.ts";
import { tellOfRelay, tellOfRoom } from "./telling.ts";
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
  #gone = false;
  /** Why there is no connection, which the page was told. */
  #offline = "";

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
      const room = await relay.engagement(this.#start.engagement);
      relay.on("engagements", () => {
        this.#isThere(relay, room).catch((error: unknown) => {
          if (!(error instanceof CoachRelayError)) throw error; // it was ended meanwhile
        });
      });
      await tellOfRoom(room, this.#portal);
    } catch (error) {
      if (!(error instanceof CoachRelayError)) throw error;
      if (error.code !== this.#offline) fault(this.#portal, error);
      if (this.#relay === null) opening.failed(notIn(this.#portal, error));
      else if (error.code === "engagement_unavailable") this.#notThere();
    }
  }

  /** The portal's page names a conversation that the relay does not have for this person. */
  async #isThere(relay: RelayApi, room: RoomApi): Promise<void> {
    if (!relay.online) return; // the relay has not told all of them yet
    const listed = (await relay.engagements()).some(({ id }) => id === room.id);
    if (listed || this.#gone || (await room.history({ limit: 1 })).length > 0) return;
    fault(this.#portal, UNAVAILABLE);
    this.#notThere();
  }

  #notThere(): void {
    this.#shown.destroy();
    const instead = welcome(root, { theme: themeOf(this.#look) });
    instead.failed(notIn(this.#portal, UNAVAILABLE));
    this.#shown = instead;
    this.#gone = true;
  }

  #device(opening: Welcome): Promise<RelayApi> {
    const { relay: url, name, iceTransportPolicy } = this.#start;
    const relayOnlyCalls = iceTransportPolicy === "relay";
    const tokenProvider = (): Promise<string> => this.#portal.token();
    let asked = false;
    const firstUse: Welcome["firstUse"] = (known) => {
      asked = true;
      return opening.firstUse(known);
    };
    return createCoachRelay({ url, name, tokenProvider, firstUse, relayOnlyCalls }, (made) => {
      tellOfRelay(made, this.#portal);
      // Nothing is taken from a person who chooses or types.
      made.on("offline", (notice) => {
        this.#offline = notice?.code ?? "";
        if (notice && this.#relay === null && !asked) opening.failed(notIn(this.#portal, notice));
      });
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
