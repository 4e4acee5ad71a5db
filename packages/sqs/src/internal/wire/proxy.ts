/**
 * An HTTP proxy by the environment, as the AWS CLI has it: `HTTPS_PROXY` for endpoints over TLS, by a tunnel, `HTTP_PROXY`
 * for others; not for what `NO_PROXY` names, which is where a local endpoint belongs. Only loaded where one of them is set.
 *
 * @see https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-proxy.html
 */
import { getProxyForUrl } from "proxy-from-env"
// The whole of undici: its tunnels need what only its index puts together.
import { ProxyAgent } from "undici"
import type { Proxies } from "./http.js"

export const dispatcher: Proxies = (origin, options) => {
  const uri = getProxyForUrl(`${origin}/`)
  return uri === "" ? undefined : new ProxyAgent({ ...options, uri, proxyTunnel: origin.startsWith("https:") })
}
