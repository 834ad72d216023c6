/** One call as the page has it: its sound and picture; what is negotiated about it, the Worker says. */

import type { CallApi, CallEvents, CallState, Notice } from "../api.ts";
import type { Media } from "../content/messages.ts";
import { UsageError } from "../errors.ts";
import type { Bridge, CoachRelayFailure } from "../page/bridge.ts";
import { freshId } from "../page/ids.ts";
import { Connection } from "./connection.ts";
import { noteLeft } from "./left.ts";
import { LocalMedia, listDevices } from "./local.ts";
import { Pictures } from "./pictures.ts";
import type { Look, Quality } from "./quality.ts";
import { qualityOf, Steady } from "./quality.ts";
import type { MediaAction } from "./states.ts";
import type { CallNews, CallWork, MediaNews } from "./told.ts";
import { CALL_NEWS, CALL_WORK } from "./told.ts";

const LOOK_MS = 2000;
/** A call that the device has not taken by then: other tabs hold it, or whoever called has given up. */
const ENTER_MS = 30_000;
/** Who hangs up is heard and seen no longer than this, whatever the Worker does meanwhile. */
const HANG_UP_MS = 500;
const HUNG_UP: Notice = { code: "call_over", message: "You ended the call." };
const CANCELLED: Notice = { code: "call_cancelled", message: "You ended the call." };
const NOT_ENTERED: Notice = {
  code: "call_not_entered",
  message:
    "This tab could not go on: another tab of this browser has the connection and does not answer. Close the other " +
    "tabs of this conversation, reload this one, and call again.",
};
const LOST: Notice = { code: "call_lost", message: "The connection was lost and did not come back." };
const TAB_CLOSED: Notice = {
  code: "call_tab_closed",
  message:
    "Another tab of this browser was closed before you were connected, and the call with it. Call again.",
};
const NO_TURN: Notice = {
  code: "call_no_turn",
  message:
    "This call was to hide your network address, and the relay has no TURN server that could. Whoever runs it can " +
    "set one up. You can call without that: “Who can read this”, “Hide my network address in calls”.",
};

export interface PageCallOptions {
  readonly engagement: string;
  readonly bridge: Bridge;
  readonly call: string;
  readonly user: string;
  /** What the invitation names. */
  readonly media: readonly Media[];
  readonly state: CallState;
  readonly relayOnly: boolean;
}

export class PageCall implements CallApi {
  readonly id: string;
  /** Of all that show this call, in whichever tab. */
  readonly by = freshId();
  user: string;
  state: CallState;
  local: MediaStream | null = null;
  remote: MediaStream | null = null;
  words: readonly string[] = [];
  quality: Quality = "unknown";
  startedMs: number | null = null;
  ended: Notice | null = null;
  readonly #options: PageCallOptions;
  readonly #listeners = new Set<() => void>();
  readonly #own: LocalMedia;
  readonly #arriving = new MediaStream();
  #connection: Connection | null = null;
  #working: Promise<void> = Promise.resolve();
  #newest = 0;
  #look: Look | null = null;
  #steady = new Steady();
  #pictures = new Pictures();
  #timer: ReturnType<typeof setInterval> | undefined;
  readonly #stops: (() => void)[] = [];
  /** Has the Worker take part; null: it was not asked yet. */
  #enter: (() => Promise<unknown>) | null = null;
  /** Nobody knows yet whether the Worker does. */
  #entering = false;

  constructor(options: PageCallOptions) {
    this.#options = options;
    this.id = options.call;
    this.user = options.user;
    this.state = options.state;
    this.#own = new LocalMedia({
      changed: () => this.#changed(),
      sent: (kind, track) => void this.#connection?.send(kind, track),
    });
    const { bridge, engagement } = options;
    this.#stops.push(
      bridge.on<CallNews>(CALL_NEWS, engagement, (news) => news.call === this.id && this.#hear(news)),
      bridge.on<CallWork>(CALL_WORK, engagement, (work) => work.call === this.id && this.#take(work)),
      bridge.on("online", null, () => this.#goOn()),
      watchNetwork(() => this.#tell({ type: "networkChanged" })),
    );
    const leave = () => this.#leave();
    addEventListener("pagehide", leave);
    this.#stops.push(() => removeEventListener("pagehide", leave));
  }

  /** Ask for microphone and camera; what is refused is `trouble`, and the call goes on. */
  async open(video: boolean): Promise<void> {
    this.local = this.#own.stream;
    await this.#own.open(video && this.#has("video"));
    this.#changed();
  }

  get media(): readonly Media[] {
    return this.#options.media;
  }

  get microphone(): boolean {
    return this.#own.microphone;
  }

  get camera(): boolean {
    return this.#own.camera;
  }

  get screen(): boolean {
    return this.#own.screen;
  }

  get picture(): boolean {
    const tracks = this.remote?.getVideoTracks() ?? [];
    return this.#pictures.come && tracks.some((track) => track.readyState === "live" && !track.muted);
  }

  get trouble(): Notice | null {
    return this.#own.trouble;
  }

  on<E extends keyof CallEvents>(_event: E, listener: (detail: CallEvents[E]) => void): () => void {
    const heard = () => listener(null);
    this.#listeners.add(heard);
    return () => void this.#listeners.delete(heard);
  }

  async setMicrophone(on: boolean): Promise<void> {
    this.#checkGoesOn();
    await this.#own.setMicrophone(on);
  }

  async setCamera(on: boolean): Promise<void> {
    this.#checkPicture();
    await this.#own.setCamera(on);
  }

  async shareScreen(on: boolean): Promise<void> {
    this.#checkPicture();
    await this.#own.shareScreen(on);
  }

  devices() {
    return listDevices(this.#own);
  }

  async choose(kind: MediaDeviceKind, id: string): Promise<void> {
    this.#checkGoesOn();
    await this.#own.choose(kind, id);
  }

  async wordsMatch(): Promise<void> {
    await this.#options.bridge.call("callWordsMatch", this.#options.engagement, this.id, [...this.words]);
  }

  /** Have the Worker take part; what it does not take ends the call, and says why. */
  async enter(ask: () => Promise<unknown>): Promise<void> {
    [this.#enter, this.#entering] = [ask, true];
    const late = setTimeout(() => this.end(NOT_ENTERED), ENTER_MS);
    try {
      await ask();
    } catch (error) {
      const { code = "internal", message } = error as Partial<CoachRelayFailure> & Error;
      this.end({ code, message });
      throw error;
    } finally {
      clearTimeout(late);
      this.#entering = false;
    }
    if (this.ended !== null) await this.#over(); // meanwhile
  }

  async hangUp(): Promise<void> {
    if (this.state === "ended") return;
    if (this.#enter === null || this.#entering) return this.end(CANCELLED);
    const over = this.#over();
    const late = setTimeout(() => this.end(this.startedMs === null ? CANCELLED : HUNG_UP), HANG_UP_MS);
    await over.finally(() => clearTimeout(late));
  }

  async #over(): Promise<void> {
    const { bridge, engagement } = this.#options;
    const over = async () => bridge.call("callHangUp", engagement, this.id);
    if (!(await over()) && (await this.#knows())) await over();
  }

  /** Whether the Worker knows of this call; where another tab's took over, it learns of it now. */
  async #knows(): Promise<boolean> {
    const { bridge, engagement } = this.#options;
    if (await bridge.call("callGoesOn", engagement, this.id, this.by)) return true;
    if (this.#newest === 0 && this.startedMs === null && this.#enter !== null)
      return this.#entersAnew(this.#enter);
    this.end(this.startedMs === null ? TAB_CLOSED : LOST);
    return false;
  }

  /** Nothing was agreed with the other side: it rings on, or is answered, from here. */
  async #entersAnew(ask: () => Promise<unknown>): Promise<boolean> {
    try {
      await ask();
      return true;
    } catch (error) {
      const { code = "internal", message } = error as Partial<CoachRelayFailure> & Error;
      this.end({ code, message });
      return false;
    }
  }

  /** There is a connection; perhaps of another tab, which has the device since the former one was closed. */
  #goOn(): void {
    if (this.#enter === null || this.#entering || this.state === "ended") return;
    this.#knows().catch(() => undefined); // it is asked again
  }

  /** It does not ring any more; if this page has not answered yet, that is the end. */
  over(message: string): void {
    if (this.#enter === null && message !== "") this.end({ code: "call_ring_over", message });
  }

  /** The Worker mostly ends with the page: whoever opens it again soon may return to what was connected. */
  #leave(): void {
    if (this.#enter === null || this.#entering || this.startedMs === null)
      return void this.hangUp().catch(() => undefined);
    const { bridge, engagement } = this.#options;
    const leftMs = Date.now();
    noteLeft(engagement, { call: this.id, leftMs });
    bridge.call("callLeave", engagement, this.id, leftMs).catch(() => undefined);
    this.end({ code: "call_left", message: "You left the page." });
  }

  /** It is over, or never began. */
  end(why: Notice): void {
    if (this.ended !== null) return;
    [this.state, this.ended, this.quality] = ["ended", why, "unknown"];
    this.#close();
    this.#changed();
  }

  #has(kind: Media): boolean {
    return this.#options.media.includes(kind);
  }

  #checkGoesOn(): void {
    if (this.state === "ended") throw new UsageError("The call is over.");
  }

  #checkPicture(): void {
    this.#checkGoesOn();
    if (!this.#has("video"))
      throw new UsageError("This is a call without picture. End it and begin a video call.");
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  #hear({ user, state, words, startedMs, ended }: CallNews): void {
    this.user = user || this.user;
    [this.words, this.startedMs] = [words, startedMs];
    if (ended !== null) this.end(ended);
    if (this.ended !== null) return;
    this.state = state;
    this.#changed();
  }

  #tell(news: MediaNews): void {
    if (this.state === "ended") return;
    void this.#say(news).catch(() => undefined); // the Worker says how the call stands
  }

  /** The Worker may be another one by now, which makes a new connection. */
  async #say(news: MediaNews): Promise<void> {
    const { bridge, engagement } = this.#options;
    if (!(await bridge.call("callMedia", engagement, this.id, news))) await this.#knows();
  }

  /** One thing after the other; a newer attempt makes what is still to be done for an older one pointless. */
  #take({ action, ice }: CallWork): void {
    if (action.type === "closeMedia") return; // the news says that it is over, and why
    if (action.type === "makeOffer" || action.type === "makeAnswer") {
      this.#newest = action.attempt;
      this.#drop();
    }
    this.#working = this.#working.then(() => this.#do(action, ice));
  }

  async #do(action: Exclude<MediaAction, { type: "closeMedia" }>, ice: CallWork["ice"]): Promise<void> {
    const attempt = action.type === "addCandidate" ? action.candidate.attempt : action.attempt;
    if (this.state === "ended" || attempt !== this.#newest) return;
    try {
      if (action.type === "makeOffer") await this.#describe(attempt, ice, null);
      else if (action.type === "makeAnswer") await this.#describe(attempt, ice, action.sdp);
      else if (action.type === "applyAnswer") await this.#connection?.takeAnswer(action.sdp);
      else {
        const { candidate, mid, index } = action.candidate;
        await this.#connection?.addCandidate(candidate, mid, index);
      }
    } catch {
      // A description that this browser does not take, or a connection that it does not make: another attempt.
      this.#tell({ type: "mediaLost", attempt });
    }
  }

  async #describe(attempt: number, ice: CallWork["ice"], offer: string | null): Promise<void> {
    if (this.#lacksTurn(ice)) {
      void this.hangUp().catch(() => undefined);
      return this.end(NO_TURN);
    }
    const made = this.#connect(attempt, ice);
    const sdp = offer === null ? await made.offer() : await made.answer(offer);
    if (made !== this.#connection) return;
    this.#tell({ type: offer === null ? "offerReady" : "answerReady", attempt, sdp });
  }

  /** Nothing can come of it: said at once, before the call was ever connected. */
  #lacksTurn(ice: CallWork["ice"]): boolean {
    const { relayOnly } = this.#options;
    return (
      relayOnly &&
      this.startedMs === null &&
      !ice.some(({ urls }) => urls.some((url) => /^turns?:/.test(url)))
    );
  }

  #connect(attempt: number, ice: CallWork["ice"]): Connection {
    const made = new Connection(
      {
        attempt,
        ice,
        relayOnly: this.#options.relayOnly,
        kinds: this.#options.media,
        track: (kind) => this.#own.track(kind),
        local: this.#own.stream,
      },
      {
        up: () => void this.#up(made),
        lost: () => this.#tell({ type: "mediaLost", attempt }),
        track: (track) => this.#arrives(track),
        candidate: ({ candidate, sdpMid, sdpMLineIndex }) =>
          this.#tell({
            type: "candidateFound",
            attempt,
            candidate,
            mid: sdpMid ?? "",
            index: sdpMLineIndex ?? 0,
          }),
      },
    );
    this.#connection = made;
    return made;
  }

  async #up(connection: Connection): Promise<void> {
    const { path } = await connection.look();
    this.#tell({ type: "mediaUp", attempt: connection.attempt, path });
    if (connection !== this.#connection) return;
    clearInterval(this.#timer);
    this.#timer = setInterval(() => void this.#watch(connection), LOOK_MS);
  }

  async #watch(connection: Connection): Promise<void> {
    const look = await connection.look();
    if (connection !== this.#connection) return;
    const quality = this.#steady.take(qualityOf(this.#look, look));
    this.#look = look;
    const came = this.#pictures.come;
    this.#pictures.take(look.pictures);
    if (quality === this.quality && came === this.#pictures.come) return;
    this.quality = quality;
    this.#changed();
  }

  /** The stream stays the same over all attempts: only its tracks change. */
  #arrives(track: MediaStreamTrack): void {
    for (const older of this.#arriving.getTracks()) {
      if (older.kind === track.kind) this.#arriving.removeTrack(older);
    }
    this.#arriving.addTrack(track);
    for (const event of ["mute", "unmute"]) track.addEventListener(event, () => this.#changed());
    this.remote = this.#arriving;
    this.#changed();
  }

  #drop(): void {
    clearInterval(this.#timer);
    this.#connection?.close();
    [this.#connection, this.#look, this.quality] = [null, null, "unknown"];
    this.#steady = new Steady();
    this.#pictures = new Pictures();
  }

  #close(): void {
    for (const stop of this.#stops.splice(0)) stop();
    this.#drop();
    this.#own.close();
    for (const track of this.#arriving.getTracks()) this.#arriving.removeTrack(track);
    [this.local, this.remote] = [null, null];
  }
}

interface NetworkInformation extends EventTarget {
  readonly type?: string;
}

/** Another network: the connection over the former one will not last. */
function watchNetwork(changed: () => void): () => void {
  const network = (navigator as { connection?: NetworkInformation }).connection;
  let type = network?.type;
  const look = () => {
    if (network?.type !== type) changed(); // it also tells each change of speed
    type = network?.type;
  };
  addEventListener("online", changed);
  network?.addEventListener("change", look);
  return () => {
    removeEventListener("online", changed);
    network?.removeEventListener("change", look);
  };
}
