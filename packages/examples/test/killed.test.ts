import { assert, describe, it } from "@effect/vitest"
import { SqsEmulator, SqsHttp } from "@millrace/sqs/emulator"
import { Effect, Fiber, Layer } from "effect"
import { long } from "../../../test/long.js"
import { run } from "./support/Program.js"

const said = (what: string, stdout: string): ReadonlyArray<string> =>
  stdout.split("\n").flatMap((line) => (line.startsWith(`${what} `) ? [line.slice(what.length + 1)] : []))

const queue = Layer.provideMerge(
  SqsHttp.layer({ port: 0 }),
  SqsEmulator.layer({ queues: { jobs: { visibilityTimeout: "2 seconds" } } })
)

describe("a killed process", { timeout: 90_000 }, () => {
  // Invariant 4 where no finalizer can help: what it held comes again, to whoever is there.
  it.scopedLive.runIf(long)("what it was at work on is handled by the next", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const { endpoint } = yield* SqsHttp.SqsHttp
      const env = {
        AWS_REGION: "us-east-1",
        AWS_ACCESS_KEY_ID: "any",
        AWS_SECRET_ACCESS_KEY: "any",
        AWS_ENDPOINT_URL_SQS: endpoint
      }
      const jobs = Array.from({ length: 300 }, (_, i) => `job-${i}`)
      yield* sqs.send("jobs", jobs)

      const first = yield* run("./worker", [], {
        env,
        signalOn: (stdout) => (said("handled", stdout).length >= 100 ? "SIGKILL" : undefined)
      })
      assert.isNull(first.code, "it ended by the signal")
      const { deleted, inFlight } = yield* sqs.snapshot("jobs")
      assert.isBelow(deleted, 300)
      assert.isAbove(inFlight, 0, "it was killed with messages in flight")

      let stdout = ""
      const second = yield* Effect.fork(
        run("./worker", [], {
          env,
          signalOn: (all) => {
            stdout = all
            return undefined
          }
        })
      )
      yield* sqs.settled("jobs", 300)
      yield* Fiber.interrupt(second)
      const handled = new Set([...said("handled", first.stdout), ...said("handled", stdout)])
      assert.deepStrictEqual(
        jobs.filter((job) => !handled.has(job)),
        [],
        "every message was handled"
      )
      const begun = new Set(said("begins", first.stdout))
      assert.isNotEmpty(
        said("begins", stdout).filter((job) => begun.has(job)),
        "some were begun by the first and handled by the second"
      )
    }).pipe(Effect.provide(queue))
  )
})
