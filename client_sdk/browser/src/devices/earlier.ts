/** What the device lists were that this person's earlier devices had, when only the words of the kit are left. */

import type { Account } from "../engine/account.ts";
import { CredentialRefused } from "../errors.ts";
import type { Manifest } from "../identity/manifest.ts";
import { GroupError } from "../mls/errors.ts";
import { readOffered } from "../mls/keyPackages.ts";
import type { Engagement, RelayFrames } from "../wire/frames.ts";
import { deviceId, deviceName } from "../wire/ids.ts";
import { MAX_CLAIMED_DEVICES } from "../wire/limits.ts";
import type { Contact } from "./contact.ts";

type Who = Pick<Account, "portal" | "user">;
type Claimed = RelayFrames["KeyPackages"]["packages"][number];

/**
 * The lists of this user that are found: the one that the relay holds, and those in the key packages of the earlier
 * devices. A relay that hides its own, or shows an old one, has to hide the packages too. Raises RelayError.
 */
export async function earlierLists(
  contact: Contact,
  who: Who,
  engagements: readonly Engagement[],
): Promise<readonly Manifest[]> {
  const held = await contact.held();
  const found: Manifest[] = held === null ? [] : [held];
  const asked = new Set([deviceName(deviceId(contact.device.public))]);
  for (const { id, devices } of engagements) {
    const mine = devices.filter(({ user }) => user === who.user).map(({ device }) => device);
    const wanted = mine.filter((device) => !asked.has(deviceName(device))).slice(0, MAX_CLAIMED_DEVICES);
    if (wanted.length === 0) continue;
    for (const device of wanted) asked.add(deviceName(device));
    const question = { frame: "ClaimKeyPackages", stream: id, devices: wanted } as const;
    const { packages } = await contact.insist(question, "KeyPackages");
    found.push(...packages.flatMap((claimed) => listIn(claimed, who) ?? []));
  }
  return found.filter(({ portal, user }) => portal === who.portal && user === who.user);
}

/** The list in a key package of the device that was asked for; null for whatever else the relay gives. */
function listIn(claimed: Claimed, { portal }: Who): Manifest | null {
  if (claimed.package === null) return null;
  try {
    return readOffered(claimed.package, claimed.device, portal).manifest;
  } catch (error) {
    if (error instanceof GroupError || error instanceof CredentialRefused) return null;
    throw error;
  }
}
