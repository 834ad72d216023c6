/** The interface that people see: it takes a `RelayApi` and shows one conversation. */

import type { FirstUse, Notice, RelayApi } from "../api.ts";
import { register } from "./register.ts";
import type { Theme } from "./theme.ts";
import { applyTheme } from "./theme.ts";

export type { Theme } from "./theme.ts";
export { PROPERTIES } from "./theme.ts";

/** What happened in the interface that a portal may want to know; never what was said. */
export type Happening =
  | { readonly type: "joined" | "left"; readonly call: string }
  | { readonly type: "knock"; readonly user: string };

export interface MountOptions {
  readonly engagement: string;
  readonly theme?: Theme;
  /** Begin anew, when what this browser had stored is gone; by default the page is loaded again. */
  readonly again?: () => void;
  /** `joined`, `left`: this person entered or left a call. `knock`: somebody waits to be let in. */
  readonly happened?: (what: Happening) => void;
}

export interface Mounted {
  setTheme(theme: Theme): void;
  /** Ends a call that runs, takes everything off the page; the relay stays open. */
  destroy(): void;
}

/** Show a conversation in `root`, which it fills. */
export function mount(root: HTMLElement, relay: RelayApi, options: MountOptions): Mounted {
  register();
  const element = document.createElement("coach-relay-room");
  element.relay = relay;
  element.engagement = options.engagement;
  element.goesOn = root.contains(document.activeElement);
  element.again = options.again ?? reload;
  element.happened = options.happened ?? (() => undefined);
  return shown(root, element, options.theme);
}

export interface WelcomeOptions {
  readonly theme?: Theme;
  readonly again?: () => void;
}

export interface Welcome extends Mounted {
  /** Give this to `createCoachRelay`: it asks the person, and shows what linking or recovering needs. */
  firstUse(known: { readonly elsewhere: boolean; readonly failure?: Notice | null }): Promise<FirstUse>;
  /** The relay could not be opened: say why. */
  failed(notice: Notice): void;
}

/** What is in `root` before there is a `RelayApi`: "opening", and the choice at first use. */
export function welcome(root: HTMLElement, options: WelcomeOptions = {}): Welcome {
  register();
  const element = document.createElement("coach-relay-welcome");
  element.again = options.again ?? reload;
  return {
    ...shown(root, element, options.theme),
    firstUse: (known) => element.firstUse(known),
    failed: (notice) => element.failed(notice),
  };
}

function shown(root: HTMLElement, element: HTMLElement, theme: Theme = {}): Mounted {
  applyTheme(element, theme);
  root.replaceChildren(element);
  return { setTheme: (next) => applyTheme(element, next), destroy: () => element.remove() };
}

const reload = (): void => location.reload();
