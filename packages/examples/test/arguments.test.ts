import { assert, describe, it } from "@effect/vitest"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect } from "effect"
import * as Aws from "../src/main-job/Aws.js"
import * as Options from "../src/main-job/Options.js"
import { Target } from "../src/main-job/Target.js"

describe("main job's arguments", () => {
  it.effect.each([
    { args: ["--nope"], says: /Unknown option '--nope'/ },
    { args: ["orders"], says: /Unexpected argument 'orders'/ },
    { args: ["--seed", "one"], says: /^--seed is "one"; write a whole number/ },
    { args: ["--queue", "no queue"], says: /^--queue: "no queue" has characters that a queue's name cannot have/ },
    { args: ["--queue", "some/thing"], says: /^--queue: "some\/thing" is not a URL/ }
  ])("$args", ({ args, says }) =>
    Effect.map(Effect.flip(Options.read(args)), ({ _tag, message }) => {
      assert.strictEqual(_tag, "BadArguments")
      assert.match(message, says)
    })
  )

  it.effect("the defaults, and the short form", () =>
    Effect.gen(function* () {
      assert.deepInclude(yield* Options.read([]), { messages: 5_000, seed: 1, json: false, queue: undefined })
      assert.deepInclude(yield* Options.read(["--fast", "--seed", "9"]), { messages: 500, seed: 9 })
      assert.strictEqual(yield* Options.read(["--help"]), undefined)
    })
  )
})

describe("main job's queue on AWS", () => {
  const target = (queue: string) =>
    Effect.flatMap(SqsEmulator.SqsEmulator, (sqs) =>
      sqs.send("used", ["somebody's"]).pipe(
        Effect.zipRight(Effect.provide(Target, Aws.target(queue))),
        Effect.map(({ place }) => place),
        Effect.merge
      )
    ).pipe(Effect.provide(SqsEmulator.layer({ queues: { used: {}, empty: {}, "ordered.fifo": {} } })))

  it.effect("an empty standard queue will do", () =>
    Effect.map(target("empty"), (place) => assert.strictEqual(place, "arn:aws:sqs:us-east-1:000000000000:empty"))
  )

  it.effect.each([
    // The job deletes what it handles, so it must not be let loose on somebody's messages.
    { queue: "used", tag: "QueueInUse", says: /^used holds about 1 messages, .* give it an empty queue/ },
    { queue: "ordered.fifo", tag: "QueueInUse", says: /^ordered\.fifo is a FIFO queue/ },
    { queue: "nowhere", tag: "QueueDoesNotExist", says: /The specified queue does not exist/ }
  ])("refuses $queue", ({ queue, says, tag }) =>
    Effect.map(target(queue), (error) => {
      if (typeof error === "string") return assert.fail(`it took ${error}`)
      assert.strictEqual(error._tag, tag)
      assert.match(error.message, says)
    })
  )
})
