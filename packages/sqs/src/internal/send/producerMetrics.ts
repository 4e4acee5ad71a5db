/** What Effect's metrics tell of a producer. */
import * as MetricBoundaries from "effect/MetricBoundaries"
import { Labelled } from "../effect/metrics.js"

const counters = {
  sent: "messages that SQS has confirmed",
  failed: "messages given up: refused, out of tries, or closed",
  retried: "messages sent again, each time counted",
  calls: "calls to send"
} as const

type Counter = keyof typeof counters
type Totals = Readonly<Record<Counter, number>>

// 1 ms to 9 minutes, each boundary twice the one before.
const seconds = MetricBoundaries.exponential({ start: 0.001, factor: 2, count: 20 })

/** One producer's figures as Effect metrics tagged `producer`. */
export class ProducerMetrics {
  readonly #counters: Record<Counter, (n: number) => void>
  readonly #buffered: (by: number) => void
  /** This producer's part of the gauge, which is what all of one name in a process hold together. */
  #part = 0
  readonly sendSeconds: (s: number) => void
  #told: Totals = { sent: 0, failed: 0, retried: 0, calls: 0 }

  constructor(producer: string) {
    const metrics = new Labelled("producer", producer)
    const counter = (name: Counter) => metrics.counter(`millrace_producer_${name}`, counters[name])
    this.#counters = {
      sent: counter("sent"),
      failed: counter("failed"),
      retried: counter("retried"),
      calls: counter("calls")
    }
    this.#buffered = metrics.gauge("millrace_producer_buffered", "messages accepted, without a result")
    this.sendSeconds = metrics.histogram(
      "millrace_producer_send_seconds",
      seconds,
      "time from the acceptance of a message to its confirmation"
    )
  }

  /** Not told for each message: a call's ten share it. */
  tell(totals: Totals, buffered: number): void {
    const told = this.#told
    this.#told = { ...totals }
    for (const name of ["sent", "failed", "retried", "calls"] as const) {
      if (totals[name] !== told[name]) this.#counters[name](totals[name] - told[name])
    }
    this.#buffered(buffered - this.#part)
    this.#part = buffered
  }
}
