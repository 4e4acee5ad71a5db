// A part of undici that is wanted without the rest.
declare module "undici/lib/dispatcher/pool.js" {
  export { Pool as default } from "undici"
}
