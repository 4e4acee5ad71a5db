/** A stage that pulls from another without a channel sees what it would see through one: when it opens, ends and closes. */
import { assert, describe, it } from "@effect/vitest"
import { Chunk, Effect, Exit, Fiber, FiberRef, Option, type Scope, Stream } from "effect"
import { fromPull, type Pull, toPull, unwrapped } from "../../src/internal/effect/pull.js"

const local = FiberRef.unsafeMake("nothing")

type How = <A, E>(stream: Stream.Stream<A, E>) => Effect.Effect<Pull<A, E>, never, Scope.Scope>

const ways: Readonly<Record<string, How>> = { "as a stage": toPull, "through a channel": Stream.toPull }

/** Gives its numbers, and then what `end` is; tells what happens. */
const counting = (
  events: Array<string>,
  numbers: ReadonlyArray<number>,
  end: Effect.Effect<never, Option.Option<string>>
) =>
  fromPull(
    Effect.gen(function* () {
      events.push(`opened within ${yield* FiberRef.get(local)}`)
      yield* Effect.addFinalizer(() => Effect.sync(() => events.push("closed")))
      let i = 0
      return Effect.suspend(() => {
        const n = numbers[i++]
        return n === undefined ? end : Effect.succeed(Chunk.of(n))
      })
    })
  )

/** Pulls so often, and closes. */
const read = (how: How, stream: Stream.Stream<number, string>, events: Array<string>, times: number) =>
  Effect.scoped(
    Effect.gen(function* () {
      const pull = yield* how(stream)
      events.push("made")
      for (let i = 0; i < times; i++) {
        const exit = yield* Effect.exit(Effect.locally(pull, local, "the puller"))
        events.push(Exit.isSuccess(exit) ? `got ${Chunk.join(Chunk.map(exit.value, String), ",")}` : "ended")
      }
      events.push("closes")
    })
  )

const ends = Effect.fail(Option.none())
const dies = Effect.die("broken")

for (const [way, how] of Object.entries(ways)) {
  describe(way, () => {
    it.effect("it is opened by the first pull, within what holds there, and closed with its scope", () =>
      Effect.gen(function* () {
        const events: Array<string> = []
        yield* read(how, counting(events, [1, 2], ends), events, 3)
        const all = ["made", "opened within the puller", "got 1", "got 2", "ended", "closes", "closed"]
        assert.deepStrictEqual(events, all)
      })
    )

    it.effect("it is closed with its scope where it dies, or fails, too", () =>
      Effect.gen(function* () {
        for (const end of [dies, Effect.fail(Option.some("no"))]) {
          const events: Array<string> = []
          yield* read(how, counting(events, [], end), events, 1)
          assert.deepStrictEqual(events, ["made", "opened within the puller", "ended", "closes", "closed"])
        }
      })
    )

    it.effect("it is closed with its scope where it has not ended, once; also where a pull was interrupted", () =>
      Effect.gen(function* () {
        const events: Array<string> = []
        yield* read(how, counting(events, [1, 2], ends), events, 1)
        assert.deepStrictEqual(events, ["made", "opened within the puller", "got 1", "closes", "closed"])
        const interrupted: Array<string> = []
        const reader = yield* Effect.fork(read(how, counting(interrupted, [1], Effect.never), interrupted, 2))
        while (!interrupted.includes("got 1")) yield* Effect.yieldNow()
        yield* Fiber.interrupt(reader)
        assert.deepStrictEqual(interrupted, ["made", "opened within the puller", "got 1", "closed"])
      })
    )

    it.effect(
      "it is closed in its place: before what the scope had before it, after what it has been given since",
      () =>
        Effect.gen(function* () {
          const events: Array<string> = []
          const tell = (what: string) => Effect.addFinalizer(() => Effect.sync(() => events.push(what)))
          yield* Effect.scoped(
            Effect.gen(function* () {
              yield* tell("before it")
              const pull = yield* how(counting(events, [1], ends))
              yield* tell("since")
              yield* pull
            })
          )
          assert.deepStrictEqual(events, ["opened within nothing", "since", "closed", "before it"])
        })
    )

    it.effect("it is not opened where nobody pulls, and anew for each that does", () =>
      Effect.gen(function* () {
        const events: Array<string> = []
        const stream = counting(events, [1], ends)
        yield* read(how, stream, events, 0)
        assert.deepStrictEqual(events.splice(0), ["made", "closes"])
        for (let i = 0; i < 2; i++) {
          yield* read(how, stream, events, 1)
          assert.deepStrictEqual(events.splice(0), ["made", "opened within the puller", "got 1", "closes", "closed"])
        }
      })
    )
  })
}

describe("a stream that an effect makes", () => {
  it.effect("fails as the effect does, and is read as what it makes", () =>
    Effect.gen(function* () {
      const events: Array<string> = []
      const fails: Effect.Effect<Stream.Stream<number>, string> = Effect.fail("no")
      assert.strictEqual(yield* Effect.flip(Stream.runDrain(unwrapped(fails))), "no")
      yield* read(toPull, unwrapped(Effect.sync(() => counting(events, [1], ends))), events, 2)
      assert.deepStrictEqual(events, ["made", "opened within the puller", "got 1", "ended", "closes", "closed"])
      const doubled = unwrapped(Effect.succeed(Stream.make(1, 2))).pipe(Stream.map((n) => n * 2))
      assert.deepStrictEqual(Chunk.toReadonlyArray(yield* Stream.runCollect(doubled)), [2, 4])
    })
  )
})
