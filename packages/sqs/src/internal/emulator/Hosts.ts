/**
 * Who may call, by the names that a browser puts into its requests: no page of the web, neither by a name of its own
 * that points to this machine (DNS rebinding) nor from another site.
 */
import type { IncomingHttpHeaders } from "node:http"
import { isIP } from "node:net"

/** The host of `Host` or of an origin, without its port and an IPv6 address's brackets. */
const nameOf = (authority: string): string | undefined => {
  try {
    return new URL(`http://${authority}`).hostname.replace(/^\[(.*)\]$/, "$1")
  } catch {
    return undefined
  }
}

/** Names that nobody can have on the web. */
const isPrivate = (name: string): boolean =>
  isIP(name) === 0 && (!name.includes(".") || /\.(localhost|local|internal|test)$/.test(name))

const isLoopback = (name: string): boolean => name === "::1" || (isIP(name) === 4 && name.startsWith("127."))

const host = (name: string) =>
  `The emulator does not answer to the host ${name}: call it by an address or as localhost, or allow the name (allowedHosts; --allow-host on the command line).`
const origin = (name: string) => `The emulator does not answer to pages of ${name}.`

/** Why a request is refused. */
export const problemOf = (headers: IncomingHttpHeaders, allowed: ReadonlySet<string>): string | undefined => {
  const here = headers.host === undefined ? undefined : nameOf(headers.host)
  const isOurs = (name: string): boolean => isPrivate(name) || allowed.has(name)
  // Nobody can make an address mean this machine.
  if (headers.host !== undefined && (here === undefined || !(isIP(here) !== 0 || isOurs(here)))) {
    return host(headers.host)
  }
  const [, authority] = /^https?:\/\/(.+)$/.exec(headers.origin ?? "") ?? []
  const from = authority === undefined ? undefined : nameOf(authority)
  // But there are sites that have an address for a name.
  if (headers.origin !== undefined && (from === undefined || !(isLoopback(from) || from === here || isOurs(from)))) {
    return origin(headers.origin)
  }
  // A page may send a form, or ask for a picture, from where it is: that has no origin, but browsers say so.
  return headers["sec-fetch-site"] === "cross-site" ? origin("another site") : undefined
}
