/** Gathers what the verdict is drawn from. */
import { Effect } from "effect"
import type { Figures } from "./Crew.js"
import { Record } from "./Record.js"
import * as Tally from "./Tally.js"
import { Target } from "./Target.js"
import type { Evidence } from "./Verdict.js"

export const gather = (figures: Effect.Effect<Figures>, tally: Tally.Tally, maxInFlight: number) =>
  Effect.gen(function* () {
    const { failures, firstSentAt, lastSuccessAt, order, sent, successes } = yield* (yield* Record).look
    const evidence: Evidence = {
      sent,
      successes,
      failures,
      tallied: Tally.total(tally),
      witness: yield* (yield* Target).witness,
      maxInFlight,
      order,
      stats: yield* figures,
      seconds: Math.max(0, lastSuccessAt - firstSentAt) / 1000
    }
    return evidence
  })
