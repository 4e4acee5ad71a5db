/** What Effect's metrics tell of a producer. */
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricKey from "effect/MetricKey"
import * as MetricLabel from "effect/MetricLabel"

const counters = {
  sent: "messages that SQS has confirmed",
  failed: "messages given up: refused, out of tries, or closed",
  retried: "messages sent again, each time counted",
  calls: "calls to send"
} as const

type Counter = keyof typeof counters
type Totals = Readonly<Record<Counter, number>>

const none: ReadonlyArray<MetricLabel.MetricLabel> = []
// 1 ms to 9 minutes, each boundary twice the one before.
const seconds = MetricBoundaries.exponential({ start: 0.001, factor: 2, count: 20 })

/** One producer's figures as Effect metrics tagged `producer`. */
export class ProducerMetrics {
  readonly #counters: Record<Counter, (n: number) => void>
  readonly #buffered: (n: number) => void
  /** This producer's part of the gauge, which is what all of one name in a process hold together. */
  #part = 0
  readonly sendSeconds: (s: number) => void
  #told: Totals = { sent: 0, failed: 0, retried: 0, calls: 0 }

  constructor(producer: string) {
    const labels = [MetricLabel.make("producer", producer)]
    const counter = (name: Counter) => {
      const key = MetricKey.counter(`millrace_producer_${name}`, { description: counters[name], incremental: true })
      const metric = Metric.fromMetricKey(MetricKey.taggedWithLabels(key, labels))
      const add = (n: number) => metric.unsafeUpdate(n, none)
      // There from the start: what an exporter first sees as 1 has not risen.
      add(0)
      return add
    }
    const gauge = MetricKey.gauge("millrace_producer_buffered", { description: "messages accepted, without a result" })
    const buffered = Metric.fromMetricKey(MetricKey.taggedWithLabels(gauge, labels))
    const histogram = MetricKey.histogram(
      "millrace_producer_send_seconds",
      seconds,
      "time from the acceptance of a message to its confirmation"
    )
    const send = Metric.fromMetricKey(MetricKey.taggedWithLabels(histogram, labels))
    this.#counters = {
      sent: counter("sent"),
      failed: counter("failed"),
      retried: counter("retried"),
      calls: counter("calls")
    }
    buffered.unsafeModify(0, none)
    this.#buffered = (n) => {
      buffered.unsafeModify(n - this.#part, none)
      this.#part = n
    }
    this.sendSeconds = (s) => send.unsafeUpdate(s, none)
  }

  /** Not told for each message: a call's ten share it. */
  tell(totals: Totals, buffered: number): void {
    const told = this.#told
    this.#told = { ...totals }
    for (const name of ["sent", "failed", "retried", "calls"] as const) {
      if (totals[name] !== told[name]) this.#counters[name](totals[name] - told[name])
    }
    this.#buffered(buffered)
  }
}
