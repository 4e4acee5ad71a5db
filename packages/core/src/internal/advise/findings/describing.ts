/** The shape of what describes a cause, and what several of them say. */
import type { Attribution } from "../attribution.js"
import type { Cause, Finding, Found } from "../finding.js"
import type { Lag } from "../lag.js"
import { number, perSecond, roundUp } from "../words.js"

/** All but what goes by the score and the cause's name. */
export type Words<F extends Finding> = Omit<F, "_tag" | "score" | "severity" | "page">

/** For each of these causes, its words. */
export type Describing<Causes extends Cause> = {
  readonly [C in Causes]: (lag: Lag, attribution: Attribution) => Words<Extract<Finding, Found<C, unknown>>>
}

export const demand = ({ arrivals, required, throughput, visible }: Lag): string =>
  required > arrivals * 1.05
    ? `${perSecond(arrivals)} come, ${perSecond(throughput)} are done, ${number(visible)} wait`
    : `${perSecond(arrivals)} come and ${perSecond(throughput)} are done`

/** Permits for so many slots at such a rate: what runs, what is received and acked meanwhile, and a few more. */
export const permitsFor = (slots: number, { callTime, required, now }: Lag): number =>
  Math.min(120_000, roundUp(slots * 1.25 + (required * (callTime + 250)) / 1000 + now.settings.batchSize))

export const commonest = (failures: Readonly<Record<string, number>>): string | undefined =>
  Object.entries(failures)
    .filter(([, count]) => count > 0)
    .sort(([, a], [, b]) => b - a)[0]?.[0]
