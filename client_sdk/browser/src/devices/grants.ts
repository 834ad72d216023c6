/** Tokens for sealed histories at the relay. */

import type { Access } from "../attachments/retrying.ts";
import type { Engine } from "../engine/engine.ts";
import { parseEngagementId } from "../wire/ids.ts";

/** Access to blobs by way of an engagement. */
export const accessBy =
  (engine: Engine, engagement: string): Access =>
  async () => {
    const stream = parseEngagementId(engagement);
    const { token } = await engine.askRelay({ frame: "RequestBlobAccess", stream }, "BlobAccess");
    return { base: engine.address.origin, token };
  };
