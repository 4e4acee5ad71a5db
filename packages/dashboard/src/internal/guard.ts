/** Who may look, and who may change something. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto"
import { isIPv4 } from "node:net"
import * as Redacted from "effect/Redacted"

type Headers = Readonly<Record<string, string | undefined>>

export const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."))

/** The name in a Host header, without its port. */
const nameOf = (host: string): string =>
  host
    .replace(/:\d+$/, "")
    .replace(/^\[(.*)\]$/, "$1")
    .toLowerCase()

const digest = (text: string) => createHash("sha256").update(text).digest()

/** Takes the same time whatever is wrong, and of whatever length. */
const same = (a: string, b: string): boolean => timingSafeEqual(digest(a), digest(b))

const cookieOf = (headers: Headers, cookieName: string): string | undefined => {
  for (const pair of (headers["cookie"] ?? "").split(";")) {
    const [name, value] = pair.trim().split("=", 2)
    if (name === cookieName) return value
  }
  return undefined
}

/** The token that a program shows. */
export const bearerOf = (headers: Headers): string | undefined =>
  /^Bearer (.+)$/i.exec(headers["authorization"] ?? "")?.[1]

export interface Options {
  readonly host: string
  /** Names by which a server that listens on loopback may be called besides loopback's own. */
  readonly hosts: ReadonlyArray<string>
  readonly token: Redacted.Redacted<string> | undefined
  /** Cookies know no ports: each of a host's dashboards has one of its own name. */
  readonly port: number
}

export class Guard {
  readonly #options: Options
  /** What a browser that has shown the token shows from then on: the token itself is in no cookie. */
  readonly #session = randomBytes(32).toString("base64url")

  readonly #cookieName: string

  constructor(options: Options) {
    this.#options = options
    this.#cookieName = `millrace_dashboard_${options.port}`
  }

  /**
   * A page of another site can give its own name this machine's address, and would then be of the same origin as this
   * server: so a server on loopback answers only to names that it knows.
   */
  knowsHost(headers: Headers): boolean {
    const { host, hosts } = this.#options
    if (!isLoopback(host)) return true
    const name = nameOf(headers["host"] ?? "")
    return isLoopback(name) || hosts.some((known) => known.toLowerCase() === name)
  }

  mayLook(headers: Headers): boolean {
    if (this.#options.token === undefined) return true
    const bearer = bearerOf(headers)
    if (bearer !== undefined) return this.isToken(bearer)
    const cookie = cookieOf(headers, this.#cookieName)
    return cookie !== undefined && same(cookie, this.#session)
  }

  isToken(given: string): boolean {
    const { token } = this.#options
    return token !== undefined && same(given, Redacted.value(token))
  }

  /** Sent to no other site, and not to scripts. Ends with the browser's session. */
  get cookie(): string {
    return `${this.#cookieName}=${this.#session}; Path=/; HttpOnly; SameSite=Strict`
  }

  /** Whether a request comes from this server's own page, as far as the browser tells. */
  isOwn(headers: Headers): boolean {
    const { host, origin, "sec-fetch-site": site } = headers
    if (site !== undefined && site !== "same-origin" && site !== "none") return false
    if (origin === undefined) return true
    return URL.canParse(origin) && new URL(origin).host === host?.toLowerCase()
  }

  /**
   * Whether a request may change something. The header is one that a form cannot send, and that a script of another site
   * may send only if this server agreed, which it does not.
   */
  mayChange(headers: Headers): boolean {
    return headers["x-millrace"] === "control" && this.isOwn(headers)
  }
}

/** Of every answer. The page has no script, style or picture but its own, and nobody else may frame it. */
export const securityHeaders = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  // With no referrer at all, browsers say "null" for the origin of a form.
  "referrer-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin"
} as const
