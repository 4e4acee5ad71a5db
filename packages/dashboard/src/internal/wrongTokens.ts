/**
 * Who shows a wrong token waits for the answer, and few may wait at a time: guessing is slow, and a right token is never
 * kept waiting by those who guess. The log tells of it once a minute.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** One of them waits for so long. */
const delay = "1 second"
const mostWaiting = 20
/** In milliseconds. */
const quiet = 60_000

export interface WrongTokens {
  /** Completes when the refusal may be sent: with false where too many wait already. */
  readonly shown: Effect.Effect<boolean>
}

export const make = (): WrongTokens => {
  let waiting = 0
  let unsaid = 0
  let saidAt = Number.NEGATIVE_INFINITY
  const say = Effect.gen(function* () {
    unsaid++
    const now = yield* Clock.currentTimeMillis
    if (now - saidAt < quiet) return
    const times = unsaid === 1 ? "a wrong token was" : `${unsaid} wrong tokens were`
    saidAt = now
    unsaid = 0
    yield* Effect.logWarning(`${times} shown to the dashboard`)
  })
  return {
    shown: Effect.zipRight(
      say,
      Effect.suspend(() => {
        if (waiting >= mostWaiting) return Effect.succeed(false)
        waiting++
        return Effect.as(Effect.sleep(delay), true).pipe(Effect.ensuring(Effect.sync(() => waiting--)))
      })
    )
  }
}
