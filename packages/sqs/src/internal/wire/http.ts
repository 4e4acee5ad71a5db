/**
 * Requests over undici's pools, for answers that are small and wanted whole: no stream is made for an answer, no timer is
 * set for a call, and no `AbortController` is made. Of undici only its pool is loaded, which takes a third of the whole.
 */
import type { IncomingHttpHeaders } from "node:http"
import type { Connections } from "@millrace/core/LeaseQueue"
import type { Dispatcher, Pool as PoolOfUndici } from "undici"
import Pool from "undici/lib/dispatcher/pool.js"
import { MaxCalls } from "./maxCalls.js"

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
  readonly path: string
  readonly headers: Record<string, string>
  readonly body: string
}

interface Options {
  readonly abortSignal?: { readonly aborted: boolean; onabort: (() => void) | null } | undefined
  /** Its first bytes have come. */
  readonly onHead?: (() => void) | undefined
}

interface Response {
  readonly statusCode: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** Reaches some origins by way of a proxy. */
export type Proxies = (origin: string, options: PoolOfUndici.Options) => Dispatcher | undefined

const aborted = (): Error => Object.assign(new Error("Request aborted"), { name: "AbortError" })
const closed = (): Error => Object.assign(new Error("The client is closed"), { name: "ClientClosed" })

/** In milliseconds. After undici's own 4 seconds a quiet consumer would need a TLS handshake for most of its calls. */
const keepAliveTimeout = 60_000

/** Ten messages of 1 MiB, with each of their characters written as six: no answer of SQS's is longer. In bytes. */
const maxResponseSize = 64 * 1_048_576

/** Keeps connections alive, `maxSockets` at most at a time. A call has no time limit here: its caller aborts it. */
export const make = (maxSockets: number, proxies?: Proxies) => {
  const options: PoolOfUndici.Options = {
    connections: maxSockets,
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout,
    maxResponseSize
  }
  const limit = new MaxCalls(maxSockets)
  const pools = new Map<string, Dispatcher>()
  /** They take no more calls, and end with those that they have. */
  const closing = new Set<Dispatcher>()
  let destroyed = false

  const poolOf = (origin: string): Dispatcher => {
    const known = pools.get(origin)
    if (known !== undefined) return known
    const pool = proxies?.(origin, options) ?? new Pool(origin, options)
    pools.set(origin, pool)
    return pool
  }

  const handle = (
    { body, headers, hostname, path, port, protocol }: Request,
    { abortSignal, onHead }: Options = {}
  ): Promise<{ response: Response }> =>
    new Promise((resolve, reject) => {
      if (abortSignal?.aborted) return reject(aborted())
      let controller: Dispatcher.DispatchController | undefined
      let statusCode = 0
      let answered: IncomingHttpHeaders = {}
      const chunks: Array<Buffer> = []
      let ended = false
      const end = (): boolean => {
        if (ended) return false
        ended = true
        limit.leave(begin)
        return true
      }
      const origin = port === undefined ? `${protocol}//${hostname}` : `${protocol}//${hostname}:${port}`
      const begin = (): void => {
        try {
          if (destroyed) throw closed()
          dispatch(poolOf(origin))
        } catch (cause) {
          if (end()) reject(cause)
        }
      }
      const dispatch = (pool: Dispatcher) =>
        pool.dispatch(
          { origin, path, method: "POST", headers, body },
          {
            onRequestStart(begun) {
              // Thrown, it ends this call alone; to abort it would end the connection too, which is as good as new.
              if (ended) throw aborted()
              controller = begun
            },
            onResponseStart(_, status, head) {
              onHead?.()
              statusCode = status
              answered = head
            },
            onResponseData(_, chunk) {
              chunks.push(chunk)
            },
            onResponseEnd() {
              if (!end()) return
              const [first] = chunks
              const whole = first !== undefined && chunks.length === 1 ? first : Buffer.concat(chunks)
              resolve({ response: { statusCode, headers: answered, body: whole } })
            },
            // An answer that is cut off has no end but an error.
            onResponseError(_, cause) {
              if (end()) reject(cause)
            }
          }
        )
      if (abortSignal !== undefined) {
        abortSignal.onabort = () => {
          if (!end()) return
          reject(aborted())
          controller?.abort(aborted())
        }
      }
      limit.enter(begin)
    })

  return {
    /** Those that a call has now, and the calls for which none is free. What is kept alive beside them is free. */
    connections: (): Connections => ({ max: limit.max, open: limit.taken, waiting: limit.waiting }),
    handle,
    /**
     * Closes the connections that no call has now. A proxy that has lost its state is silent on all that it had open: a
     * call that had no answer on one says that the others may be no better.
     */
    dropIdle: () => {
      for (const pool of pools.values()) {
        const done = () => closing.delete(pool)
        closing.add(pool)
        pool.close().then(done, done)
      }
      pools.clear()
    },
    /** Ends all calls, those too that wait. */
    destroy: () => {
      destroyed = true
      for (const pool of [...pools.values(), ...closing]) void pool.destroy()
      pools.clear()
    }
  }
}

export type Handler = ReturnType<typeof make>
