import { SecurityAlarm } from "../../src/alarms.ts";

/** The code of the alarm that this raises; "none" if it raises nothing. */
export function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof SecurityAlarm) return error.code;
    throw error;
  }
  return "none";
}
