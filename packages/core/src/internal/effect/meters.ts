/** Effect's metrics, as functions that are given values from callbacks. */
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricKey from "effect/MetricKey"
import * as MetricLabel from "effect/MetricLabel"

const none: ReadonlyArray<MetricLabel.MetricLabel> = []
// 1 ms to 9 hours, each boundary twice the one before.
const seconds = MetricBoundaries.exponential({ start: 0.001, factor: 2, count: 25 })

/** Those of one bearer of a tag. The tag is in the key: one that is given with each update costs five times as much. */
export class Meters {
  readonly #labels: ReadonlyArray<MetricLabel.MetricLabel>

  constructor(tag: string, value: string) {
    this.#labels = [MetricLabel.make(tag, value)]
  }

  /** Those of one name and tag in one process each add their part: it shows what they hold together. */
  gauge(name: string, description: string): (n: number) => void {
    const metric = Metric.fromMetricKey(
      MetricKey.taggedWithLabels(MetricKey.gauge(name, { description }), this.#labels)
    )
    let part = 0
    metric.unsafeModify(0, none)
    return (n) => {
      if (n === part) return
      metric.unsafeModify(n - part, none)
      part = n
    }
  }

  /** Of times in seconds. */
  histogram(name: string, description: string): (n: number) => void {
    const metric = Metric.fromMetricKey(
      MetricKey.taggedWithLabels(MetricKey.histogram(name, seconds, description), this.#labels)
    )
    return (n) => metric.unsafeUpdate(n, none)
  }

  counter(name: string, description: string): (n: number) => void {
    const metric = Metric.fromMetricKey(
      MetricKey.taggedWithLabels(MetricKey.counter(name, { description, incremental: true }), this.#labels)
    )
    const add = (n: number) => metric.unsafeUpdate(n, none)
    // There from the start: what an exporter first sees as 1 has not risen.
    add(0)
    return add
  }
}
