/** What the page may ask about one conversation. */

import { unhex } from "../../bytes.ts";
import { text } from "../../content/messages.ts";
import type { Person } from "../conversation.ts";
import { alarmText } from "../conversation.ts";
import type { Engine } from "../engine.ts";
import type { Message } from "../history.ts";
import type { Failure, Implementation } from "../messages.ts";

export interface RoomCalls {
  open(engagement: string): { readonly member: boolean };
  people(engagement: string): readonly Person[];
  history(engagement: string, limit: number, before: string | null): readonly Message[];
  send(engagement: string, text: string, replyTo: string | null): string;
  safetyNumber(engagement: string, user: string): string;
  verify(engagement: string, user: string, number: string): null;
  alarm(engagement: string): Failure | null;
  goOn(engagement: string): null;
}

export const roomMethods = (engine: Engine): Implementation<RoomCalls> => ({
  open: async (id) => ({ member: (await engine.conversation(id)).member }),
  people: async (id) => (await engine.conversation(id)).people,
  history: async (id, limit, before) => (await engine.conversation(id)).history(limit, before ?? undefined),
  send: async (id, said, replyTo) =>
    (await engine.conversation(id)).say(text(said, replyTo === null ? null : unhex(replyTo))),
  safetyNumber: async (id, user) => (await engine.conversation(id)).safetyNumber(user),
  async verify(id, user, number) {
    await (await engine.conversation(id)).verify(user, number);
    return null;
  },
  async alarm(id) {
    const { alarm } = await engine.conversation(id);
    return alarm && { code: alarm.code, message: alarmText(alarm) };
  },
  async goOn(id) {
    const conversation = await engine.conversation(id);
    await conversation.goOn();
    await conversation.flush();
    return null;
  },
});
