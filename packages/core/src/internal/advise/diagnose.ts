/** The judgement: how far behind, by what, and which causes are worth naming. */
import * as Histogram from "../../Histogram.js"
import { attribute } from "./attribution.js"
import { describe } from "./describe.js"
import type { Diagnosis } from "./finding.js"
import type { Known, Limits } from "./known.js"
import { measure } from "./lag.js"

/** What counts for a finding: this part of the lag at least. */
const least = 0.1

export const diagnose = (known: Known, limits: Limits): Diagnosis | undefined => {
  const lag = measure(known, limits)
  if (lag === undefined) return undefined
  const attribution = attribute(lag)
  const whole = [...attribution.slots.values()].reduce((sum, slots) => sum + slots, 0)
  const scores = new Map(attribution.notable)
  if (lag.behind) {
    for (const [cause, slots] of attribution.slots) {
      const score = whole === 0 ? 0 : slots / whole
      const notable = attribution.notable.get(cause) ?? 0
      if (score >= least) scores.set(cause, score)
      // Named for its own sake, it explains no more of the lag than it does.
      else if (notable > 0) scores.set(cause, Math.min(notable, Math.max(score, 0.01)))
    }
    for (const [cause, notable] of attribution.notable) {
      if (!attribution.slots.has(cause)) scores.set(cause, Math.min(notable, 0.09))
    }
  }
  const findings = [...scores]
    .map(([cause, score]) => describe(cause, score, lag, attribution))
    .sort((a, b) => b.score - a.score)
  return {
    consumer: lag.now.consumer,
    queue: lag.now.queue,
    from: lag.now.from,
    at: lag.now.to,
    verdict: lag.behind ? "behind" : findings.length > 0 ? "attention" : "healthy",
    lag: {
      visible: lag.visible,
      growth: lag.growth,
      arrivals: lag.arrivals,
      throughput: lag.throughput,
      required: lag.required,
      waited: Histogram.quantile(lag.now.queued, 0.5)
    },
    findings
  }
}
