/**
 * An HTTP proxy by the environment, as the AWS CLI has it: `HTTPS_PROXY` for endpoints over TLS, by a tunnel, `HTTP_PROXY`
 * for others; not for what `NO_PROXY` names, which is where a local endpoint belongs. Only loaded where one of them is set.
 *
 * @see https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-proxy.html
 */
import { getProxyForUrl } from "proxy-from-env"
// The whole of undici: its tunnels need what only its index puts together.
import { type Dispatcher, Pool, ProxyAgent } from "undici"
import type { Proxies } from "./http.js"

type Done = (error: Error | null, data: Dispatcher.ConnectData) => void

/**
 * The connections to the proxy. Where it closes one without an answer undici takes that for a connection that went stale,
 * and opens another at once, without end: under another code it is the call's error.
 */
class Tunnels extends Pool {
  override connect(options: Dispatcher.ConnectOptions): Promise<Dispatcher.ConnectData>
  override connect(options: Dispatcher.ConnectOptions, done: Done): void
  override connect(options: Dispatcher.ConnectOptions, done?: Done): Promise<Dispatcher.ConnectData> | void {
    if (done !== undefined) return super.connect(options, done)
    return super.connect(options).catch((cause: unknown) => {
      throw stale.has(Reflect.get(Object(cause), "code"))
        ? Object.assign(new Error("the proxy has closed the connection", { cause }), { code: "ECONNRESET" })
        : cause
    })
  }
}

const stale: ReadonlySet<unknown> = new Set(["UND_ERR_SOCKET", "UND_ERR_INFO"])

/** undici sends credentials only where there is a password; a token may stand alone, as the user. */
const tokenOf = ({ password, username }: URL): string | undefined =>
  username === "" || password !== ""
    ? undefined
    : `Basic ${Buffer.from(`${decodeURIComponent(username)}:`).toString("base64")}`

/** Whether calls to a URL go by no proxy, or by one that can be. */
export const fits = (url: string): boolean => {
  const uri = getProxyForUrl(url)
  if (uri === "") return true
  if (!URL.canParse(uri)) return false
  const { password, protocol, username } = new URL(uri)
  try {
    // As they are read when the first connection is made.
    decodeURIComponent(username)
    decodeURIComponent(password)
  } catch {
    return false
  }
  return protocol === "http:" || protocol === "https:"
}

export const dispatcher: Proxies = (origin, options) => {
  const uri = getProxyForUrl(`${origin}/`)
  if (uri === "") return undefined
  const token = tokenOf(new URL(uri))
  return new ProxyAgent({
    ...options,
    uri,
    proxyTunnel: origin.startsWith("https:"),
    clientFactory: (url, settings) => new Tunnels(url, settings),
    // Without a tunnel undici gives the connections to the proxy none of the options.
    factory: (to, settings) => new Pool(to, { ...options, ...settings }),
    ...(token !== undefined && { token })
  })
}
