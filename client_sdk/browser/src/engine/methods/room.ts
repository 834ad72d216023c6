/** What the page may ask about one conversation. */

import type { Item, Person, Question, RoomState } from "../../api.ts";
import type { Bytes } from "../../bytes.ts";
import { equal, unhex } from "../../bytes.ts";
import { edit, reaction } from "../../content/amendments.ts";
import { checkAnswers, checkIn, checkInAnswer, question } from "../../content/checkin.ts";
import { text } from "../../content/messages.ts";
import { UsageError } from "../../errors.ts";
import type { Compared } from "../../identity/safety.ts";
import { checkScanned, safetyCode, safetyNumber } from "../../identity/safety.ts";
import type { Draft } from "../../vault/drafts.ts";
import { keepDraft, readDraft } from "../../vault/drafts.ts";
import { parseEngagementId, parseUserId } from "../../wire/ids.ts";
import type { Conversation } from "../conversation.ts";
import { acceptIdentity, goOn, shownKey, verify } from "../decisions.ts";
import type { Engine } from "../engine.ts";
import type { Implementation } from "../messages.ts";
import type { Work } from "../work.ts";

/** Ids of messages are given by the page, so that a question that was asked twice is one message. */
export interface RoomCalls {
  open(engagement: string): null;
  state(engagement: string): RoomState;
  people(engagement: string): readonly Person[];
  history(engagement: string, limit: number, before: string | null): readonly Item[];
  item(engagement: string, id: string): Item | null;
  send(engagement: string, id: string, text: string, replyTo: string | null): string;
  checkIn(engagement: string, id: string, prompt: string, questions: readonly Question[]): string;
  answer(
    engagement: string,
    id: string,
    checkIn: string,
    answers: Readonly<Record<string, number | string>>,
  ): string;
  edit(engagement: string, id: string, text: string): null;
  retract(engagement: string, id: string): null;
  react(engagement: string, id: string, emoji: string, on: boolean): null;
  markRead(engagement: string, id: string): null;
  typing(engagement: string, on: boolean): null;
  draft(engagement: string): Draft | null;
  keepDraft(engagement: string, draft: Draft | null): null;
  safetyNumber(engagement: string, user: string): string;
  verificationCode(engagement: string, user: string): string;
  verify(engagement: string, user: string, number: string): null;
  verifyScanned(engagement: string, user: string, code: string): null;
  acceptIdentity(engagement: string, user: string): null;
  admit(engagement: string, user: string): null;
  goOn(engagement: string): null;
}

/** What may be asked twice: the page names its messages, so that they are said once. */
export const SAFE_ROOM: readonly (keyof RoomCalls)[] = [
  ...(["open", "state", "people", "history", "item", "typing", "markRead"] as const),
  ...(["draft", "keepDraft"] as const),
  ...(["send", "checkIn", "answer", "edit", "react"] as const),
  ...(["safetyNumber", "verificationCode", "verify", "verifyScanned", "admit"] as const),
];

export function roomMethods(engine: Engine): Implementation<RoomCalls> {
  const room = (id: string): Promise<Conversation> => engine.conversation(id);
  return {
    async open(id) {
      await engine.opened(id);
      return null;
    },
    state: async (id) => (await room(id)).roomState,
    people: async (id) => (await room(id)).people,
    history: async (id, limit, before) => (await room(id)).history(limit, before),
    item: async (id, item) => (await room(id)).item(item),

    send: async (id, message, said, replyTo) =>
      once(await room(id), message, (as) => ({
        content: text(said, replyTo === null ? null : unhex(replyTo)),
        options: { id: as },
      })),
    checkIn: async (id, message, prompt, questions) =>
      once(await room(id), message, (as) => ({
        content: checkIn(prompt, questions.map(question)),
        options: { id: as },
      })),
    async answer(id, message, about, answers) {
      const conversation = await room(id);
      const asked = (await conversation.find(about))?.envelope?.content;
      if (asked?.kind !== "checkin") throw new UsageError("Only a check-in can be answered.");
      const given = checkInAnswer(unhex(about), new Map(Object.entries(answers)));
      checkAnswers(asked, given);
      return once(conversation, message, (as) => ({ content: given, options: { id: as } }));
    },

    async edit(id, message, said) {
      await (await room(id)).amend(edit(unhex(message), said));
      return null;
    },
    async retract(id, message) {
      await (await room(id)).retract(message);
      return null;
    },
    async react(id, message, emoji, on) {
      await (await room(id)).amend(reaction(unhex(message), emoji, on));
      return null;
    },
    async markRead(id, message) {
      await (await room(id)).markRead(message);
      return null;
    },
    async typing(id, on) {
      const conversation = await room(id);
      if (conversation.member && engine.online) await conversation.whisper("typing", new Map([["on", on]]));
      return null;
    },

    draft: async (id) => readDraft(engine.vault, parseEngagementId(id)),
    async keepDraft(id, draft) {
      await keepDraft(engine.vault, parseEngagementId(id), draft);
      return null;
    },

    safetyNumber: async (id, user) => {
      const { portal } = engine.account;
      return safetyNumber(portal, parseUserId(user), await keyOf(engine, await room(id), user));
    },
    verificationCode: async (id, user) => safetyCode(await compared(engine, await room(id), user)),
    async verify(id, user, number) {
      const conversation = await room(id);
      const key = await keyOf(engine, conversation, user);
      if (safetyNumber(engine.account.portal, parseUserId(user), key) !== number.replaceAll(/\s/g, "")) {
        throw new UsageError("The number that was compared is not this person's newest. Show it again.");
      }
      await conversation.decide((work) => verifying(work, user, key));
      return null;
    },
    async verifyScanned(id, user, code) {
      const conversation = await room(id);
      const known = await compared(engine, conversation, user);
      checkScanned(known, code);
      await conversation.decide((work) => verifying(work, user, known.otherKey));
      return null;
    },
    async acceptIdentity(id, user) {
      await (await room(id)).decide((work) => acceptIdentity(work, user));
      return null;
    },
    async admit(id, user) {
      const who = parseUserId(user);
      await (await room(id)).decide(async (work) => {
        work.change({ admitted: [...new Set([...work.state.admitted, who])] });
      });
      return null;
    },
    async goOn(id) {
      await (await room(id)).decide(goOn);
      return null;
    },
  };
}

type Saying = Parameters<Conversation["say"]>;

/** Say it under this id, unless that was done already: the page asks again when it does not know. */
async function once(
  conversation: Conversation,
  id: string,
  make: (id: Bytes) => { readonly content: Saying[0]; readonly options: NonNullable<Saying[1]> },
): Promise<string> {
  if ((await conversation.find(id)) !== null) return id;
  const { content, options } = make(unhex(id));
  return conversation.say(content, options);
}

/** The key of a person as it was shown; raises UsageError for somebody not met yet. */
async function keyOf(engine: Engine, conversation: Conversation, user: string): Promise<Bytes> {
  const id = parseUserId(user);
  if (id === engine.account.user) return engine.account.manifest.identityKey;
  const key = await conversation.step((work) => shownKey(work, id));
  if (key === null) throw new UsageError("This person has not taken part yet: there is no number.");
  return key;
}

async function compared(engine: Engine, conversation: Conversation, user: string): Promise<Compared> {
  const { portal, user: own, manifest } = engine.account;
  const otherKey = await keyOf(engine, conversation, user);
  return { portal, user: own, identityKey: manifest.identityKey, other: parseUserId(user), otherKey };
}

/** The key may have become another one since it was looked at. */
async function verifying(work: Work, user: string, key: Bytes): Promise<void> {
  const now = await shownKey(work, parseUserId(user));
  if (now === null || !equal(now, key)) {
    throw new UsageError("This person's key has just become another one. Show the number again.");
  }
  await verify(work, user, key);
}
