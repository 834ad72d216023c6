/** Whether this browser lets an embedded page keep anything: without that there is no device, and no key. */

const PROBE = "coach-relay-probe";

/** Raises a DOMException where the browser denies it to frames of other sites. */
export async function needStorage(): Promise<void> {
  await navigator.locks.request(PROBE, async () => undefined);
  await new Promise<void>((resolve, reject) => {
    const opening = indexedDB.open(PROBE);
    opening.onsuccess = () => {
      opening.result.close();
      indexedDB.deleteDatabase(PROBE);
      resolve();
    };
    opening.onerror = () => reject(opening.error);
  });
}

export const STORAGE_DENIED = {
  code: "storage_denied",
  message:
    "This browser does not let this conversation keep its keys on this device. Allow cookies and site data for this " +
    "page in the browser's settings, then load the page again. Private windows may forget everything when closed.",
} as const;
