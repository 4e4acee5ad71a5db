/** Metrics written from callbacks, each under one label. */
import * as Metric from "effect/Metric"
import type * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricKey from "effect/MetricKey"
import * as MetricLabel from "effect/MetricLabel"

const none: ReadonlyArray<MetricLabel.MetricLabel> = []

export class Labelled {
  readonly #labels: ReadonlyArray<MetricLabel.MetricLabel>

  constructor(label: string, value: string) {
    this.#labels = [MetricLabel.make(label, value)]
  }

  /** Only grows. There from the start: what an exporter first sees as 1 has not risen. */
  counter(name: string, description: string): (n: number) => void {
    const key = MetricKey.counter(name, { description, incremental: true })
    const metric = Metric.fromMetricKey(MetricKey.taggedWithLabels(key, this.#labels))
    const add = (n: number) => metric.unsafeUpdate(n, none)
    add(0)
    return add
  }

  /** Moved up and down, since all of one name and label in a process share it. */
  gauge(name: string, description: string): (by: number) => void {
    const key = MetricKey.gauge(name, { description })
    const metric = Metric.fromMetricKey(MetricKey.taggedWithLabels(key, this.#labels))
    const move = (by: number) => metric.unsafeModify(by, none)
    move(0)
    return move
  }

  histogram(name: string, boundaries: MetricBoundaries.MetricBoundaries, description: string): (value: number) => void {
    const key = MetricKey.histogram(name, boundaries, description)
    const metric = Metric.fromMetricKey(MetricKey.taggedWithLabels(key, this.#labels))
    return (value) => metric.unsafeUpdate(value, none)
  }
}
