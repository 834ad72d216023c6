import { base } from "./base.ts";
import { layout } from "./layout.ts";
import { messages } from "./messages.ts";
import { over } from "./over.ts";
import { parts } from "./parts.ts";
import { small } from "./small.ts";
import { tokens } from "./tokens.ts";

/** All styles, adopted by the two roots: the inner elements stand in their shadow trees. */
export const styles = [tokens, base, layout, messages, parts, over, small];
