import { assert, describe, it } from "@effect/vitest"
import { SqsEmulator, SqsHttp } from "@millrace/sqs/emulator"
import { Clock, Effect, Layer, Schema } from "effect"
import { run } from "./support/Program.js"

const Summary = Schema.parseJson(
  Schema.Struct({
    sent: Schema.Number,
    handled: Schema.Number,
    acked: Schema.Number,
    lost: Schema.Number,
    duplicates: Schema.Number,
    redelivered: Schema.Number,
    failures: Schema.Number,
    left: Schema.Number,
    maxInFlight: Schema.Number,
    peakInFlight: Schema.Number,
    calls: Schema.Number,
    seconds: Schema.Number,
    seed: Schema.Number,
    verdict: Schema.Boolean,
    failed: Schema.Array(Schema.String)
  })
)

const lastLine = (stdout: string) => stdout.trimEnd().split("\n").at(-1) ?? ""
const summaryOf = (stdout: string) => Schema.decodeUnknownSync(Summary)(lastLine(stdout))

const credentials = { AWS_REGION: "us-east-1", AWS_ACCESS_KEY_ID: "any", AWS_SECRET_ACCESS_KEY: "any" }

/** Another emulator in the place of AWS, as the program finds it by its environment. */
const elsewhere = (options: SqsEmulator.QueueOptions = {}) =>
  SqsHttp.layer({ port: 0 }).pipe(Layer.provideMerge(SqsEmulator.layer({ queues: { webhooks: options } })))

const onElsewhere = Effect.fnUntraced(function* (args: ReadonlyArray<string>) {
  const { endpoint } = yield* SqsHttp.SqsHttp
  return yield* run("main-job", ["--queue", "webhooks", ...args], {
    env: { ...credentials, AWS_ENDPOINT_URL_SQS: endpoint }
  })
})

// Side by side: most of each is waiting for a process.
describe.concurrent("main job", { timeout: 90_000 }, () => {
  it.scopedLive("handles every webhook once through the SDK and HTTP, and says nothing beside its report", () =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* run("main-job", ["--fast", "--json", "--seed", "3"])
      const summary = summaryOf(stdout)
      assert.deepInclude(summary, { sent: 500, handled: 500, acked: 500, lost: 0, duplicates: 0, left: 0, seed: 3 })
      assert.deepInclude(summary, { maxInFlight: 100, verdict: true, failed: [] })
      // Enough to have something to bound and to retry.
      assert.isAbove(summary.peakInFlight, 10)
      assert.isAtMost(summary.peakInFlight, 100)
      assert.isAbove(summary.failures, 5)
      // Those that failed, and those that the consumer that is replaced half-way had not begun.
      assert.isAtLeast(summary.redelivered, summary.failures)
      assert.isAbove(summary.calls, 100)
      assert.isAbove(summary.seconds, 0)
      assert.strictEqual(stderr, "")
      assert.strictEqual(code, 0)
    })
  )

  it.scopedLive("runs on a queue given by name with the ordinary chain, and judges by what can be known there", () =>
    Effect.gen(function* () {
      const { code, stdout } = yield* onElsewhere(["--fast", "--json"])
      assert.deepInclude(summaryOf(stdout), { sent: 500, handled: 500, acked: 500, lost: 0, left: 0, verdict: true })
      assert.strictEqual(code, 0)
      const { deleted, sent } = yield* (yield* SqsEmulator.SqsEmulator).snapshot("webhooks")
      assert.deepStrictEqual({ deleted, sent }, { deleted: 500, sent: 500 })
    }).pipe(Effect.provide(elsewhere()))
  )

  it.scopedLive("messages that the queue drops behind its back make the verdict fail, with exit code 1", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      // It gives up after three visibility timeouts without a success.
      // A purge while it runs: what was deleted then is never handled.
      const purge = sqs
        .settled("webhooks", 20)
        .pipe(Effect.zipRight(sqs.client.purgeQueue({ QueueUrl: sqs.queueUrl("webhooks") })))
      yield* Effect.forkScoped(purge)
      const { code, stdout } = yield* onElsewhere(["--fast", "--json"])
      const summary = summaryOf(stdout)
      assert.isAbove(summary.lost, 0)
      assert.strictEqual(summary.verdict, false)
      assert.include(stdout, "does NOT hold")
      assert.strictEqual(code, 1)
    }).pipe(Effect.provide(elsewhere({ visibilityTimeout: "3 seconds" })))
  )

  it.scopedLive("Ctrl-C gives back what is in flight", () =>
    Effect.gen(function* () {
      const { endpoint } = yield* SqsHttp.SqsHttp
      const { code, stderr } = yield* run("main-job", ["--queue", "webhooks"], {
        env: { ...credentials, AWS_ENDPOINT_URL_SQS: endpoint },
        signalOn: (stdout) => (/ [1-9]\d\d handled/.test(stdout) ? "SIGINT" : undefined)
      })
      assert.strictEqual(code, 130)
      assert.strictEqual(stderr.trim(), "Interrupted.")
      const sqs = yield* SqsEmulator.SqsEmulator
      assert.isAbove((yield* sqs.snapshot("webhooks")).deleted, 0)
      // Retries that wait for their time count as in flight in SQS, for seconds; nothing keeps the lease that it had.
      const soon = (yield* Clock.currentTimeMillis) + 30 * 60_000
      const leased = (yield* sqs.messages("webhooks")).filter(({ visibleAt = 0 }) => visibleAt > soon)
      assert.deepStrictEqual(leased, [])
    }).pipe(Effect.provide(elsewhere({ visibilityTimeout: "1 hour" })))
  )

  it.scopedLive("without credentials it says so, and nothing else", () =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* run("main-job", ["--queue", "orders"], {
        env: { AWS_REGION: "us-east-1", AWS_ACCESS_KEY_ID: "", AWS_SECRET_ACCESS_KEY: "" }
      })
      assert.match(stderr, /^GetQueueUrl: .* set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.*\n$/)
      assert.strictEqual(stdout, "")
      assert.strictEqual(code, 1)
    })
  )

  it.scopedLive("an unknown flag is refused with the usage and exit code 2", () =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* run("main-job", ["--nope"])
      assert.match(stderr, /'--nope'.*\n\nUsage: npm start/s)
      assert.strictEqual(stdout, "")
      assert.strictEqual(code, 2)
    })
  )
})
