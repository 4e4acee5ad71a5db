/**
 * An HTTP proxy by the environment, as the AWS CLI has it: `HTTPS_PROXY` for endpoints over TLS, by a tunnel, `HTTP_PROXY`
 * for others; not for what `NO_PROXY` names, which is where a local endpoint belongs. Only loaded where one of them is set.
 *
 * @see https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-proxy.html
 */
import type * as Http from "node:http"
import { HttpProxyAgent } from "http-proxy-agent"
import { HttpsProxyAgent } from "https-proxy-agent"
import { getProxyForUrl } from "proxy-from-env"
import type { Proxies } from "./http.js"

export const make = (maxSockets: number): Proxies => {
  const agents = new Map<string, Http.Agent>()

  const agentOf = (protocol: string, proxy: string): Http.Agent => {
    const key = `${protocol} ${proxy}`
    const known = agents.get(key)
    if (known !== undefined) return known
    const options = { keepAlive: true, maxSockets }
    const agent = protocol === "https:" ? new HttpsProxyAgent(proxy, options) : new HttpProxyAgent(proxy, options)
    agents.set(key, agent)
    return agent
  }

  return {
    agentFor: (protocol, hostname, port) => {
      const proxy = getProxyForUrl(`${protocol}//${hostname}${port === undefined ? "" : `:${port}`}/`)
      return proxy === "" ? undefined : agentOf(protocol, proxy)
    },
    agents: () => [...agents.values()]
  }
}
