/** What the job prints at its end. */
import { Diagnosis } from "@millrace/core"
import { Console, Effect } from "effect"
import { count, table } from "../Format.js"
import type { Options } from "./Options.js"
import * as Tally from "./Tally.js"
import type { Verdict } from "./Verdict.js"

const result = (tally: Tally.Tally): string =>
  table(
    [
      ["repository", "webhooks", "most of them"],
      ...Tally.rows(tally).map(({ events, repository, webhooks }) => [
        repository,
        count(webhooks),
        events
          .slice(0, 3)
          .map(([event, times]) => `${event} ${count(times)}`)
          .join(", ")
      ])
    ],
    ["left", "right", "left"]
  )

const figures = ({ summary }: Verdict): string => {
  const { acked, calls, failures, handled, redelivered, seconds, sent } = summary
  const perThousand = sent === 0 ? 0 : Math.round((calls * 1000) / sent)
  return (
    `${count(sent)} sent, ${count(handled)} handled, ${count(acked)} acked; ${count(failures)} runs failed, ` +
    `${count(redelivered)} redelivered; ${count(calls)} calls (${perThousand} for 1,000 messages); ` +
    `${seconds.toFixed(1)} s (${count(Math.round(handled / Math.max(seconds, 0.001)))} a second)`
  )
}

const checks = (verdict: Verdict): string =>
  verdict.checks.map(({ claim, found, holds }) => `${holds ? "✓" : "✗"} ${claim}: ${found}`).join("\n")

export const print = (
  tally: Tally.Tally,
  verdict: Verdict,
  diagnosis: Diagnosis.Diagnosis | undefined,
  { json, seed }: Options
): Effect.Effect<void> =>
  Effect.gen(function* () {
    yield* Console.log(`\n${result(tally)}\n\n${figures(verdict)}\n\n${checks(verdict)}`)
    if (diagnosis !== undefined) yield* Console.log(`\nThe diagnosis: ${Diagnosis.render(diagnosis)}\n`)
    yield* Console.log(verdict.holds ? "The verdict: it holds." : "The verdict: it does NOT hold.")
    if (json) {
      const failed = verdict.checks.filter(({ holds }) => !holds).map(({ claim }) => claim)
      yield* Console.log(JSON.stringify({ ...verdict.summary, seed, verdict: verdict.holds, failed }))
    }
  })
