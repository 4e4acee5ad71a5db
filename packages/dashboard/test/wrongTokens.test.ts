/** Guesses at the token: slow, few at a time, and told of in the log. In virtual time. */
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Logger, TestClock } from "effect"
import * as WrongTokens from "../src/internal/wrongTokens.js"

const shownAtOnce = (tokens: WrongTokens.WrongTokens, count: number) =>
  Effect.fork(
    Effect.all(
      Array.from({ length: count }, () => tokens.shown),
      { concurrency: "unbounded" }
    )
  )

it.effect("each waits a second, and more than twenty at a time are refused at once; then there is room again", () =>
  Effect.gen(function* () {
    const tokens = WrongTokens.make()
    for (let round = 0; round < 2; round++) {
      const guesses = yield* shownAtOnce(tokens, 20)
      yield* TestClock.adjust("999 millis")
      assert.isNull(guesses.unsafePoll())
      assert.isFalse(yield* tokens.shown)
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* Fiber.join(guesses), Array(20).fill(true))
    }
    // Who has gone leaves its place.
    yield* Fiber.interrupt(yield* shownAtOnce(tokens, 20))
    const later = yield* Effect.fork(tokens.shown)
    yield* TestClock.adjust("1 second")
    assert.isTrue(yield* Fiber.join(later))
  })
)

it.effect("the log tells of the first, and then of how many once a minute", () => {
  const said: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => said.push(`${logLevel.label} ${message}`))
  return Effect.gen(function* () {
    const tokens = WrongTokens.make()
    const shown = (count: number, seconds: number) =>
      Effect.zipRight(shownAtOnce(tokens, count), TestClock.adjust(`${seconds} seconds`))
    yield* shown(1, 1)
    yield* shown(3, 58)
    yield* shown(2, 1)
    assert.deepStrictEqual(said.splice(0), ["WARN a wrong token was shown to the dashboard"])
    yield* shown(1, 59)
    yield* shown(1, 1)
    assert.deepStrictEqual(said.splice(0), ["WARN 6 wrong tokens were shown to the dashboard"])
    yield* shown(1, 1)
    assert.deepStrictEqual(said, ["WARN 2 wrong tokens were shown to the dashboard"])
  }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
})
