// A part of undici that is wanted without the rest. It is at this path in all of undici 7, which has no `exports` that could
// close it, and the packaging tests load it: so the range is a caret, and security releases of later minors reach users.
declare module "undici/lib/dispatcher/pool.js" {
  export { Pool as default } from "undici"
}
