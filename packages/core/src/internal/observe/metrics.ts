/** What a consumer counts and times. */
import { Meters } from "../effect/meters.js"

const counters = {
  received: "messages received",
  redelivered: "messages received that had been received before",
  handled: "handlers that succeeded",
  failed: "handlers that failed",
  acked: "deletes confirmed by the queue",
  ackedLate: "deletes confirmed after the lease was over",
  retried: "messages made visible again after a delay",
  released: "messages given back",
  deadLettered: "messages moved to the dead letters",
  left: "messages left to the queue's own timeout",
  lost: "messages whose lease was over before they were settled",
  polls: "receive calls sent",
  emptyPolls: "receive calls answered with no message",
  receiveErrors: "receive calls that failed",
  settleErrors: "calls to settle that failed, whole",
  settleCalls: "calls to settle",
  extendCalls: "calls to extend leases",
  extended: "leases that were to be extended",
  extendErrors: "calls to extend leases that failed, whole",
  longestReached: "messages in flight for as long as the queue allows",
  doneAlready: "messages whose key was done already: their handler did not run",
  waitedForClaim: "looks at a key that another was working on",
  keysReused: "messages whose key is known with another payload",
  storeErrors: "failures of the idempotency store, each as a message sees it",
  overShare: "messages given back since they were over their key's share",
  stranded: "messages that an aborted receive may have leased to nobody"
} as const

export type Counter = keyof typeof counters
const names = Object.keys(counters) as ReadonlyArray<Counter>
const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/** Counts and times of one consumer: plain numbers to read, and the same as Effect metrics tagged `consumer`. */
export class ConsumerMetrics {
  readonly counts: Record<Counter, number>
  readonly #counters: Record<Counter, (n: number) => void>
  readonly inFlight: (n: number) => void
  readonly prefetched: (n: number) => void
  readonly handlerSeconds: (s: number) => void
  readonly settleSeconds: (s: number) => void
  readonly queueSeconds: (s: number) => void

  constructor(consumer: string) {
    const meters = new Meters("consumer", consumer)
    const record = <A>(f: (name: Counter) => A) =>
      Object.fromEntries(names.map((name) => [name, f(name)])) as Record<Counter, A>
    this.counts = record(() => 0)
    this.#counters = record((name) => meters.counter(`millrace_${snake(name)}`, counters[name]))
    this.inFlight = meters.gauge("millrace_in_flight", "messages leased and not settled")
    this.prefetched = meters.gauge("millrace_prefetched", "messages in flight that no reader has taken yet")
    this.handlerSeconds = meters.histogram("millrace_handler_seconds", "time a handler took")
    this.settleSeconds = meters.histogram("millrace_settle_seconds", "time from receive to the confirmed settlement")
    this.queueSeconds = meters.histogram("millrace_queue_seconds", "time from send to receive")
  }

  add(name: Counter, n = 1): void {
    if (n === 0) return
    this.counts[name] += n
    this.#counters[name](n)
  }
}
