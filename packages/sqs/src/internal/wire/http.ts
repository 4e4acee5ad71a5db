/**
 * Requests over `node:http`, for answers that are small and wanted whole: no stream is piped for an answer, no timer is
 * set for a call, and no `AbortController` is made.
 */
import * as Http from "node:http"
import * as Https from "node:https"
import type { Connections } from "@millrace/core/LeaseQueue"

/** Ends one call before its answer: an abort signal without its event target. */
export class Abort {
  aborted = false
  onabort: (() => void) | null = null

  abort(): void {
    this.aborted = true
    this.onabort?.()
  }
}

interface Request {
  readonly protocol: string
  readonly hostname: string
  readonly port?: number | undefined
  readonly method: string
  readonly path: string
  readonly headers: Record<string, string>
  readonly body?: string | Uint8Array | undefined
}

interface Options {
  readonly abortSignal?: { readonly aborted: boolean; onabort: (() => void) | null } | undefined
  /** Its first bytes have come. */
  readonly onHead?: (() => void) | undefined
}

interface Response {
  readonly statusCode: number
  readonly headers: Http.IncomingHttpHeaders
  readonly body: Buffer
}

/** Agents that reach some hosts by way of a proxy. */
export interface Proxies {
  readonly agentFor: (protocol: string, hostname: string, port: number | undefined) => Http.Agent | undefined
  readonly agents: () => ReadonlyArray<Http.Agent>
}

const aborted = (): Error => Object.assign(new Error("Request aborted"), { name: "AbortError" })

/** Keeps connections alive, `maxSockets` at most at a time. A call has no time limit here: its caller aborts it. */
export const make = (maxSockets: number, proxies?: Proxies) => {
  const plain = new Http.Agent({ keepAlive: true, maxSockets })
  const secure = new Https.Agent({ keepAlive: true, maxSockets })

  const agents = (): ReadonlyArray<Http.Agent> => [plain, secure, ...(proxies?.agents() ?? [])]

  const handle = (
    { body, headers, hostname, method, path, port, protocol }: Request,
    { abortSignal, onHead }: Options = {}
  ): Promise<{ response: Response }> =>
    new Promise((resolve, reject) => {
      if (abortSignal?.aborted) return reject(aborted())
      const tls = protocol === "https:"
      const options: Https.RequestOptions = {
        agent: proxies?.agentFor(protocol, hostname, port) ?? (tls ? secure : plain),
        // An IPv6 address stands in brackets in a URL.
        host: hostname.replace(/^\[(.*)\]$/, "$1"),
        port,
        method,
        path,
        headers
      }
      const request = (tls ? Https : Http).request(options, (answer) => {
        onHead?.()
        const chunks: Array<Buffer> = []
        answer.on("data", (chunk: Buffer) => chunks.push(chunk))
        // An answer that is cut off has no end but an error.
        answer.on("error", reject)
        answer.on("end", () => {
          const [first] = chunks
          const whole = first !== undefined && chunks.length === 1 ? first : Buffer.concat(chunks)
          resolve({ response: { statusCode: answer.statusCode ?? 0, headers: answer.headers, body: whole } })
        })
      })
      request.on("error", reject)
      if (abortSignal !== undefined) {
        abortSignal.onabort = () => {
          reject(aborted())
          request.destroy()
        }
      }
      request.end(body)
    })

  const all = <A>(of: (agent: Http.Agent) => NodeJS.ReadOnlyDict<ReadonlyArray<A>>): ReadonlyArray<A> =>
    agents()
      .flatMap((agent) => Object.values(of(agent)))
      .flatMap((each) => each ?? [])

  return {
    /** Those that a call has now; what is kept alive beside them is free. */
    connections: (): Connections => ({
      max: maxSockets,
      open: all(({ sockets }) => sockets).length,
      // The agent keeps aborted ones until their turn.
      waiting: all<Http.ClientRequest>(({ requests }) => requests).filter(({ destroyed }) => !destroyed).length
    }),
    handle,
    /**
     * Closes the connections that no call has now. A proxy that has lost its state is silent on all that it had open: a
     * call that had no answer on one says that the others may be no better.
     */
    dropIdle: () => {
      for (const socket of all(({ freeSockets }) => freeSockets)) socket.destroy()
    },
    destroy: () => {
      for (const agent of agents()) agent.destroy()
    }
  }
}

export type Handler = ReturnType<typeof make>
