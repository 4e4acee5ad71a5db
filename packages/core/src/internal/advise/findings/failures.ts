/** Runs that fail. */

import { repeated } from "../evidence.js"
import type { CircuitOpen } from "../finding.js"
import type { Lag } from "../lag.js"
import { clamp } from "../readings.js"
import { percent, say, set } from "../words.js"
import { commonest, type Describing, type Words } from "./describing.js"

/**
 * Poison fails each time that it comes, while what comes the first time succeeds: an outage fails both. Told by the
 * attempts of the latest failures.
 */
const poisoned = (lag: Lag): boolean => {
  const { first, again } = failing(lag)
  return first < 0.5 && again > Math.max(0.5, 1.5 * first)
}

/** Of what ran for the first time, and of what ran again, the part that failed. */
const failing = ({ now }: Lag): { readonly first: number; readonly again: number } => {
  const { failed, received, redelivered } = now.stats
  const first = now.recentFailures.filter(({ attempt }) => attempt <= 1).length / Math.max(1, now.recentFailures.length)
  const ofFirst = (first * failed) / Math.max(1, received - redelivered)
  const ofAgain = ((1 - first) * failed) / Math.max(1, redelivered)
  return { first: clamp(ofFirst), again: clamp(ofAgain) }
}

export const failures: Describing<"Retries" | "CircuitOpen"> = {
  Retries: (lag) => {
    const { now, runs } = lag
    const poison = repeated(lag)
    const { failed, received, redelivered } = now.stats
    const error = commonest(now.failures)
    const wasted = now.handler.sum === 0 ? 0 : now.failedTime / now.handler.sum
    const few = poisoned(lag)
    const { again } = failing(lag)
    // Tries that never succeed are not worth their time.
    const attempts = again >= 0.9 ? 2 : again >= 0.7 ? 3 : 5
    const [worst] = poison
    return {
      title: few ? "The same messages fail again and again" : "Many runs fail",
      figures: { failed, runs, redelivered, received, wasted, error, poison: poison.slice(0, 10) },
      evidence: `${failed} of ${runs} runs failed${error === undefined ? "" : ` (mostly ${error})`}, ${redelivered} of ${received} messages received were not new, and failed runs took ${percent(wasted)} of the handlers' time${
        worst === undefined ? "" : `; message ${worst.messageId} failed ${worst.failures} times`
      }.`,
      advice: few
        ? [
            say(
              `Look at message ${worst?.messageId ?? "ids in the log"}, and dead-letter what can never succeed at once: \`(error) => RetryPolicy.deadLetter\` for those errors.`
            ),
            set(
              "attempts",
              attempts,
              `Bound the retries: \`RetryPolicy.redeliver(schedule, { attempts: ${attempts} })\`, then \`RetryPolicy.orElse(RetryPolicy.deadLetter)\`: of what ran again ${percent(again)} failed again.`
            )
          ]
        : [
            say(
              `Look at what ${error === undefined ? "the errors name" : `\`${error}\` names`}: while it is down, retries only add load.`
            ),
            say(
              'Put a `circuit` before the handler, and let delays grow: `Schedule.exponential("1 second").pipe(Schedule.jittered)`.'
            )
          ],
      why: few
        ? "A message that can never succeed takes a slot each time it comes back; in the dead-letter queue it can be looked at and takes none."
        : "Each failed run takes a slot and comes again. A circuit stops that while the downstream is down, and spends none of the messages' attempts."
    }
  },

  CircuitOpen: ({ now }): Words<CircuitOpen> => {
    const state = now.stages.find(({ circuit }) => circuit !== undefined && circuit !== "all")?.circuit ?? "all"
    const error = commonest(now.failures)
    return {
      title: "The circuit is open",
      figures: { state, failed: now.stats.failed, error },
      evidence: `The circuit lets ${state === "none" ? "nothing" : state === "probes" ? "only probes" : "everything again"} through${
        now.stats.failed > 0 ? ` after ${now.stats.failed} failed runs` : ""
      }${error === undefined ? "" : ` (mostly ${error})`}.`,
      advice: [
        say(
          `Mend what the handler calls${error === undefined ? "" : ` (\`${error}\`)`}: the circuit closes by itself when a probe succeeds.`
        )
      ],
      why: "While it is open nothing runs and nothing is received, so that no message spends its attempts on a downstream that is down."
    }
  }
}
