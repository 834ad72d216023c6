/** Times, sizes and lengths as people write them, in the language of their browser. */

import { words } from "./words.ts";

const LOCALE: string | undefined = undefined;
const DAY_MS = 86_400_000;
/** The latest instant that a Date holds: a peer's clock may say anything. */
const LAST_MS = 8_640_000_000_000_000;

const clock = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(LOCALE, { weekday: "long", day: "numeric", month: "long" });
const withYear = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "long", year: "numeric" });
const short = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short" });

const safe = (ms: number): number => (Number.isFinite(ms) ? Math.min(Math.max(ms, 0), LAST_MS) : 0);
const midnight = (ms: number): number => new Date(safe(ms)).setHours(0, 0, 0, 0);

export const timeOf = (ms: number): string => clock.format(safe(ms));
export const dateOf = (ms: number): string => short.format(safe(ms));
export const isoOf = (ms: number): string => new Date(safe(ms)).toISOString();
export const sameDay = (one: number, other: number): boolean => midnight(one) === midnight(other);

/** "Today", "Monday, 3 May", "3 May 2025". */
export function dayOf(ms: number, nowMs: number): string {
  if (sameDay(ms, nowMs)) return words.history.today;
  if (sameDay(ms, midnight(nowMs) - DAY_MS / 2)) return words.history.yesterday;
  const year = new Date(safe(ms)).getFullYear() === new Date(nowMs).getFullYear();
  return (year ? weekday : withYear).format(safe(ms));
}

/** A time of today, or the day and the time. */
export const momentOf = (ms: number, nowMs: number): string =>
  sameDay(ms, nowMs) ? timeOf(ms) : `${dateOf(ms)}, ${timeOf(ms)}`;

const UNITS = ["B", "kB", "MB", "GB", "TB"] as const;

export function sizeOf(bytes: number): string {
  let value = Math.max(0, Number.isFinite(bytes) ? bytes : 0);
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value >= 10 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

/** 75 -> "1:15", 3700 -> "1:01:40". */
export function lengthOf(seconds: number): string {
  const all = Math.max(0, Math.floor(Number.isFinite(seconds) ? seconds : 0));
  const parts = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  const used = parts[0] === 0 ? parts.slice(1) : parts;
  return used.map((part, at) => (at === 0 ? String(part) : String(part).padStart(2, "0"))).join(":");
}

/** 30 digits -> six groups of five; anything else as it is. */
export const digitGroups = (number: string): readonly string[] =>
  /^\d+$/.test(number) ? (number.match(/\d{1,5}/g) ?? []) : [shownName(number)];

/** Characters that draw nothing, or turn the direction of what stands around them. */
const UNSEEN =
  /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu;
const NAME_LENGTH = 60;
const FILE_NAME_LENGTH = 100;
const TAIL = 16;

const clean = (text: string): string => text.replace(UNSEEN, " ").replace(/\s+/gu, " ").trim();

/** Cut by characters as people count them, so that no half of one is left. */
function cut(text: string, most: number): string {
  const characters = Array.from(text.slice(0, most * 8));
  return characters.length <= most && text.length <= most * 8
    ? text
    : `${characters.slice(0, most - 1).join("")}…`;
}

/** What somebody else chose as a name: one line, bounded, without characters that play tricks. */
export const shownName = (name: string, otherwise: string = words.someone): string =>
  cut(clean(name), NAME_LENGTH) || otherwise;

/** A file's name; of a long one its end is kept, where its kind stands. */
export function shownFileName(name: string): string {
  const bare = clean(name).split(/[\\/]/).at(-1)?.trim() ?? "";
  const characters = Array.from(bare);
  if (characters.length === 0) return words.file.unnamed;
  if (characters.length <= FILE_NAME_LENGTH) return bare;
  const head = characters.slice(0, FILE_NAME_LENGTH - TAIL - 1).join("");
  return `${head}…${characters.slice(-TAIL).join("")}`;
}

/** The first words of something, in one line, for quotes and announcements. */
export const excerpt = (text: string, most = 120): string => cut(clean(text.slice(0, most * 12)), most);

/** What a person is called; before they have said it, what they are here. */
export function personName(
  { name, role }: { readonly name: string; readonly role: string },
  unnamed: (role: string) => string = words.unnamed,
): string {
  const shownRole = shownName(role, "");
  return shownName(name, shownRole === "" ? words.someone : unnamed(shownRole));
}
