/** Gathers what the verdict is drawn from. */
import type { Consumer } from "@millrace/core"
import { Effect } from "effect"
import { Record } from "./Record.js"
import * as Tally from "./Tally.js"
import { Target } from "./Target.js"
import type { Evidence } from "./Verdict.js"

export const gather = <E>(consumer: Consumer.Consumer<E>, tally: Tally.Tally, maxInFlight: number) =>
  Effect.gen(function* () {
    const { failures, firstSentAt, lastSuccessAt, sent, successes } = yield* (yield* Record).look
    const evidence: Evidence = {
      sent,
      successes,
      failures,
      tallied: Tally.total(tally),
      witness: yield* (yield* Target).witness,
      maxInFlight,
      stats: yield* consumer.stats,
      seconds: Math.max(0, lastSuccessAt - firstSentAt) / 1000
    }
    return evidence
  })
