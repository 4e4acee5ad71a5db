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

/** Says of a request why it is refused, if it is. */
export const guard = (allowed: ReadonlySet<string>): ((headers: IncomingHttpHeaders) => string | undefined) => {
  const isOurs = (name: string): boolean => isPrivate(name) || allowed.has(name)

  const problemOf = (headers: IncomingHttpHeaders): string | undefined => {
    const here = headers.host === undefined ? undefined : nameOf(headers.host)
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

  // Nearly all requests are those of one SDK, which need not be looked at each time.
  let welcome: string | undefined
  return (headers) => {
    const browser = headers.origin !== undefined || headers["sec-fetch-site"] !== undefined
    if (!browser && headers.host !== undefined && headers.host === welcome) return undefined
    const problem = problemOf(headers)
    if (problem === undefined) welcome = headers.host
    return problem
  }
}
