/** What the terminal shows while the job runs: one line that is rewritten, or a line a second where it is no terminal. */
import { Clock, Effect, Schedule } from "effect"
import { count, millis, percentile } from "../Format.js"
import type { Figures } from "./Crew.js"
import { Record } from "./Record.js"
import { Target } from "./Target.js"

const write = (text: string) => Effect.sync(() => process.stdout.write(text))

/** Shows the job's progress until its scope closes. */
export const live = (figures: Effect.Effect<Figures>) =>
  Effect.gen(function* () {
    const target = yield* Target
    const record = yield* Record
    const tty = process.stdout.isTTY === true
    const startedAt = yield* Clock.currentTimeMillis
    let last = { at: startedAt, handled: 0 }
    let rate = 0

    const line = Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const backlog = yield* target.backlog
      const { handled, inFlight, maxInFlight, redelivered } = yield* figures
      const { latest } = yield* record.look
      const seconds = (now - last.at) / 1000
      if (seconds > 0)
        rate = rate === 0 ? (handled - last.handled) / seconds : 0.5 * rate + (0.5 * (handled - last.handled)) / seconds
      last = { at: now, handled }
      const sorted = [...latest].sort((a, b) => a - b)
      return [
        `${count(handled).padStart(6)} handled`,
        `backlog ${count(backlog).padStart(5)}`,
        `in flight ${String(inFlight).padStart(3)} of ${maxInFlight}`,
        `${count(Math.round(rate)).padStart(5)}/s`,
        `p50 ${millis(percentile(sorted, 0.5))} p99 ${millis(percentile(sorted, 0.99))}`,
        `${count(redelivered)} redelivered`
      ].join("  ")
    })

    const show = Effect.flatMap(line, (text) =>
      write(tty ? `\r\x1b[K${text.slice(0, Math.max(0, (process.stdout.columns ?? 80) - 1))}` : `${text}\n`)
    )
    yield* Effect.addFinalizer(() => (tty ? write("\r\x1b[K") : Effect.void))
    yield* show.pipe(
      Effect.ignore,
      Effect.schedule(Schedule.spaced(tty ? "250 millis" : "1 second")),
      Effect.forkScoped
    )
  })
