/** The emulator over HTTP in a process of its own, with one queue. */
import { SqsEmulator, SqsHttp } from "@millrace/sqs/emulator"
import { Effect, Layer } from "effect"
import { serve } from "./child.js"

const name = "backlog"

const program = Effect.gen(function* () {
  const emulator = yield* SqsEmulator.SqsEmulator
  const { endpoint } = yield* SqsHttp.SqsHttp
  const runtime = yield* Effect.runtime<never>()
  void runtime
  const snapshot = yield* emulator.snapshot(name)
  void snapshot
  serve({ endpoint, queueUrl: `${endpoint}/000000000000/${name}` }, () => ({ calls: 0, deleted: 0, peakReceives: 0 }))
  return yield* Effect.never
})

Effect.runFork(
  program.pipe(
    Effect.provide(
      SqsHttp.layer({ port: 0 }).pipe(Layer.provideMerge(SqsEmulator.layer({ keepDeleted: 0, queues: { [name]: {} } })))
    )
  )
)
