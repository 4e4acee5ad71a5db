import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricKey from "effect/MetricKey"
import * as MetricLabel from "effect/MetricLabel"

const none: ReadonlyArray<MetricLabel.MetricLabel> = []
// 1 ms to 9 hours, each boundary twice the one before.
const seconds = MetricBoundaries.exponential({ start: 0.001, factor: 2, count: 25 })

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
    const labels = [MetricLabel.make("consumer", consumer)]
    // The tag is in the key: a tag given with each update costs five times as much.
    const gauge = (name: string, description: string) => {
      const metric = Metric.fromMetricKey(
        MetricKey.taggedWithLabels(MetricKey.gauge(`millrace_${name}`, { description }), labels)
      )
      // Consumers of one name in one process each add their part: the gauge is what they hold together.
      let part = 0
      metric.unsafeModify(0, none)
      return (n: number) => {
        if (n === part) return
        metric.unsafeModify(n - part, none)
        part = n
      }
    }
    const histogram = (name: string, description: string) => {
      const metric = Metric.fromMetricKey(
        MetricKey.taggedWithLabels(MetricKey.histogram(`millrace_${name}_seconds`, seconds, description), labels)
      )
      return (n: number) => metric.unsafeUpdate(n, none)
    }
    const counter = (name: Counter) => {
      const metric = Metric.fromMetricKey(
        MetricKey.taggedWithLabels(
          MetricKey.counter(`millrace_${snake(name)}`, { description: counters[name], incremental: true }),
          labels
        )
      )
      const add = (n: number) => metric.unsafeUpdate(n, none)
      // There from the start: what an exporter first sees as 1 has not risen.
      add(0)
      return add
    }
    const record = <A>(f: (name: Counter) => A) =>
      Object.fromEntries(names.map((name) => [name, f(name)])) as Record<Counter, A>
    this.counts = record(() => 0)
    this.#counters = record(counter)
    this.inFlight = gauge("in_flight", "messages leased and not settled")
    this.prefetched = gauge("prefetched", "messages in flight that no reader has taken yet")
    this.handlerSeconds = histogram("handler", "time a handler took")
    this.settleSeconds = histogram("settle", "time from receive to the confirmed settlement")
    this.queueSeconds = histogram("queue", "time from send to receive")
  }

  add(name: Counter, n = 1): void {
    if (n === 0) return
    this.counts[name] += n
    this.#counters[name](n)
  }
}
