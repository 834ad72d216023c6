/**
 * Tabs of one browser share one device: the tab that holds the device's lock leads and has the engine, the others
 * work through it. When it closes, one of them gets the lock and leads.
 */

import { CoachRelayError } from "../errors.ts";
import type { Failure, Happening } from "./messages.ts";

/** One thing asked, by whichever tab. */
export interface Asked {
  readonly id: string;
  readonly method: string;
  readonly args: readonly unknown[];
}

export type Said =
  | { readonly kind: "answer"; readonly id: string; readonly value: unknown }
  | { readonly kind: "failure"; readonly id: string; readonly failure: Failure };

/** What tabs say to each other. `who` leads is asked, and told when it changes. */
type Line =
  | { readonly kind: "who" }
  | { readonly kind: "leads"; readonly leader: string; readonly greeting: unknown }
  | { readonly kind: "call"; readonly tab: string; readonly asked: Asked }
  | { readonly kind: "begun"; readonly tab: string; readonly id: string }
  | { readonly kind: "said"; readonly tab: string; readonly said: Said }
  | { readonly kind: "event"; readonly happening: Happening };

/** Who leads was closed in the middle of something that cannot be done twice. */
export class TabClosed extends CoachRelayError {
  readonly code = "tab_closed";

  constructor() {
    super(
      "The tab of this browser that was doing this was closed. Look whether it was done, then try again.",
    );
  }
}

/** What a tab does with what it is told, and how it leads. */
export interface Tab {
  /** Give the page an answer. */
  say(said: Said): void;
  tell(happening: Happening): void;
  /** Do what was asked, as the leader. */
  serve(asked: Asked): Promise<Said>;
  /** Whether this may be asked again when nobody knows if it was done. */
  isSafe(method: string): boolean;
  /** This tab leads from now on: have the engine run. What it gives, the others are greeted with. */
  lead(): Promise<unknown>;
  /** Another tab leads, and greets. */
  follow(greeting: unknown): void;
  /** This tab was to lead, and cannot: what its page is told of all that it asks. */
  failed(error: unknown): Failure;
}

/** What the page asked and nobody has answered; whoever leads says when it begins with it. */
interface Open {
  readonly asked: Asked;
  begun: boolean;
}

/** So many questions of other tabs are known again: one that is asked twice, as the leader changes, is done once. */
const MAX_KNOWN = 1024;

export class Tabs {
  readonly #name: string;
  readonly #tab: Tab;
  readonly #me = crypto.randomUUID();
  readonly #channel: BroadcastChannel;
  readonly #ended = new AbortController();
  readonly #open = new Map<string, Open>();
  readonly #known = new Set<string>();
  #leads = false;
  /** Why this tab, which was to lead, does not. */
  #failure: Failure | null = null;
  #greeting: unknown = null;
  #leader = "";
  #release: () => void = () => undefined;

  constructor(name: string, tab: Tab) {
    this.#name = name;
    this.#tab = tab;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }: MessageEvent<Line>) => this.#hear(data);
  }

  /** Take part; resolves when this tab leads, or knows who does. Raises what keeps it from leading. */
  async begin(): Promise<"leads" | "follows"> {
    if (await this.#lock(true)) {
      await this.#lead();
      return "leads";
    }
    void this.#waitToLead();
    this.#post({ kind: "who" });
    return "follows";
  }

  get leads(): boolean {
    return this.#leads;
  }

  /** Ask whoever leads. */
  async ask(asked: Asked): Promise<void> {
    if (this.#leads) return this.#answer(asked);
    if (this.#failure !== null) return this.#refuse(asked.id, this.#failure);
    this.#open.set(asked.id, { asked, begun: false });
    if (this.#leader !== "") this.#post({ kind: "call", tab: this.#me, asked });
  }

  /** Something happened here: all tabs are told. */
  tell(happening: Happening): void {
    this.#tab.tell(happening);
    this.#post({ kind: "event", happening });
  }

  /** Give up the device, and leave. */
  end(): void {
    this.#ended.abort();
    this.#release();
    this.#channel.close();
  }

  #post(line: Line): void {
    if (!this.#ended.signal.aborted) this.#channel.postMessage(line);
  }

  /** The device's lock: at once or not at all, or as soon as it is free. It is held until `end`. */
  #lock(ifAvailable: boolean): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const held = (lock: Lock | null) => {
        resolve(lock !== null);
        if (lock === null) return undefined;
        return new Promise<void>((release) => {
          this.#release = release;
        });
      };
      const options = ifAvailable ? { ifAvailable } : { signal: this.#ended.signal };
      navigator.locks.request(this.#name, options, held).catch(reject);
    });
  }

  async #waitToLead(): Promise<void> {
    try {
      await this.#lock(false);
    } catch {
      return; // this tab ended first
    }
    try {
      await this.#lead();
    } catch (error) {
      this.#release();
      this.#fail(this.#tab.failed(error));
    }
  }

  /** Nobody answers what was asked, until another tab leads. */
  #fail(failure: Failure): void {
    this.#failure = failure;
    const open = [...this.#open.keys()];
    this.#open.clear();
    for (const id of open) this.#refuse(id, failure);
  }

  #refuse(id: string, failure: Failure): void {
    this.#tab.say({ kind: "failure", id, failure });
  }

  async #answer(asked: Asked): Promise<void> {
    this.#tab.say(await this.#tab.serve(asked));
  }

  async #lead(): Promise<void> {
    this.#leader = "";
    try {
      this.#greeting = await this.#tab.lead();
    } catch (error) {
      this.#release();
      throw error;
    }
    this.#leads = true;
    this.#leader = this.#me;
    this.#post({ kind: "leads", leader: this.#me, greeting: this.#greeting });
    // In their order, and none waits for the one before: that may take as long as a file does.
    for (const asked of this.#askedAgain()) void this.#answer(asked);
  }

  /** What no tab began is asked again; what one may have done or not, if that is safe; else it is told to be open. */
  #askedAgain(): readonly Asked[] {
    const open = [...this.#open.values()];
    this.#open.clear();
    const { code, message } = new TabClosed();
    const isOpen = ({ asked, begun }: Open) => begun && !this.#tab.isSafe(asked.method);
    for (const { asked } of open.filter(isOpen)) this.#refuse(asked.id, { code, message });
    return open.filter((one) => !isOpen(one)).map(({ asked }) => asked);
  }

  #hear(line: Line): void {
    if (line.kind === "who") {
      if (this.#leads) this.#post({ kind: "leads", leader: this.#me, greeting: this.#greeting });
    } else if (line.kind === "call") {
      if (this.#leads) void this.#serve(line.tab, line.asked);
    } else if (this.#leads) return;
    else if (line.kind === "leads") this.#follow(line.leader, line.greeting);
    else if (line.kind === "event") this.#tab.tell(line.happening);
    else if (line.tab !== this.#me) return;
    else if (line.kind === "begun") this.#begins(line.id);
    else if (this.#open.delete(line.said.id)) this.#tab.say(line.said);
  }

  #begins(id: string): void {
    const open = this.#open.get(id);
    if (open !== undefined) open.begun = true;
  }

  async #serve(tab: string, asked: Asked): Promise<void> {
    this.#post({ kind: "begun", tab, id: asked.id });
    if (this.#known.has(asked.id)) return; // its answer comes
    this.#known.add(asked.id);
    const [oldest] = this.#known;
    if (this.#known.size > MAX_KNOWN && oldest !== undefined) this.#known.delete(oldest);
    this.#post({ kind: "said", tab, said: await this.#tab.serve(asked) });
  }

  #follow(leader: string, greeting: unknown): void {
    if (leader === this.#leader) return;
    [this.#leader, this.#failure] = [leader, null];
    this.#tab.follow(greeting);
    for (const asked of this.#askedAgain()) {
      this.#open.set(asked.id, { asked, begun: false });
      this.#post({ kind: "call", tab: this.#me, asked });
    }
  }
}
