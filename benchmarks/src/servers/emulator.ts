/** The emulator over HTTP in a process of its own, with one queue. */
import { SqsEmulator, SqsHttp } from "@millrace/sqs/emulator"
import { Effect, Layer } from "effect"
import { serve } from "./child.js"

const name = "backlog"

const program = Effect.gen(function* () {
  const emulator = yield* SqsEmulator.SqsEmulator
  const { endpoint } = yield* SqsHttp.SqsHttp
  serve(
    { endpoint, queueUrl: `${endpoint}/000000000000/${name}` },
    Effect.gen(function* () {
      const { deleted } = yield* emulator.snapshot(name)
      const calls = Object.values(yield* emulator.calls).reduce((sum: number, n) => sum + (n ?? 0), 0)
      return { calls, deleted }
    }).pipe(Effect.orDie)
  )
  return yield* Effect.never
})

const served = SqsHttp.layer({ port: 0 }).pipe(
  Layer.provideMerge(SqsEmulator.layer({ keepDeleted: 0, queues: { [name]: {} } }))
)

Effect.runFork(Effect.provide(program, served))
