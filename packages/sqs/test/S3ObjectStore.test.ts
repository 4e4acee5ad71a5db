import { S3Client } from "@aws-sdk/client-s3"
import { assert, describe, expect, it } from "@effect/vitest"
import { Pipeline } from "@millrace/core"
import { ObjectStore, SqsClaimCheck, SqsConsumer, SqsProducer } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import * as S3ObjectStore from "@millrace/sqs/S3ObjectStore"
import { Duration, Effect, Layer, Redacted, Schema, Stream } from "effect"
import * as S3Server from "./support/S3Server.js"

const credentials = { accessKeyId: "any", secretAccessKey: Redacted.make("any") }
const layerOf = (endpoint: string, options: S3ObjectStore.Options = {}) =>
  S3ObjectStore.layer({ region: "us-east-1", endpoint, forcePathStyle: true, credentials, ...options })

const Order = Schema.Struct({ id: Schema.Number, note: Schema.String })
const order = (id: number) => ({ id, note: "é".repeat(1000) })
const object = { bucket: "bodies", key: "orders/1" }

describe("S3ObjectStore, through the AWS SDK, over HTTP", () => {
  it.scopedLive("a claim check from the producer to the consumer, deleted after the ack", () =>
    Effect.gen(function* () {
      const s3 = yield* S3Server.make
      s3.refusals.push({ status: 503, code: "SlowDown" })
      yield* Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        const claimCheck = yield* SqsClaimCheck.make({
          bucket: "bodies",
          prefix: "orders/",
          above: 1000,
          deleteAfterAck: true
        })
        const producer = yield* SqsProducer.make("q", { claimCheck })
        yield* producer.send(order(1))
        const [[path, body] = []] = s3.objects
        assert.match(path ?? "", /^\/bodies\/orders\/[a-z0-9-]+$/)
        assert.deepStrictEqual(JSON.parse(body?.toString() ?? ""), order(1))

        s3.refusals.push("hang up")
        const handled = yield* SqsConsumer.stream("q").pipe(
          SqsClaimCheck.fetch(claimCheck),
          Pipeline.decodeJson(Order),
          Pipeline.process(Effect.succeed),
          Stream.take(1),
          Stream.runCollect
        )
        assert.deepStrictEqual([...handled], [order(1)])
        assert.strictEqual((yield* sqs.snapshot("q")).deleted, 1)
      }).pipe(Effect.scoped, Effect.provide(Layer.merge(SqsEmulator.layer({ queues: { q: {} } }), layerOf(s3.url))))
      // The claim check's scope has waited for it.
      assert.strictEqual(s3.objects.size, 0)
      assert.deepStrictEqual(
        s3.requests.map(({ method }) => method),
        ["PUT", "PUT", "GET", "GET", "DELETE"]
      )
      assert.match(s3.requests[0]?.headers.authorization ?? "", /^AWS4-HMAC-SHA256/)
    })
  )

  it.scopedLive("each request names the account whose the bucket must be, where it is given", () =>
    Effect.gen(function* () {
      const s3 = yield* S3Server.make
      const all = Effect.gen(function* () {
        const store = yield* ObjectStore.ObjectStore
        yield* store.put(object, "text")
        yield* store.get(object, 100)
        yield* store.delete(object)
      })
      const owners = () => s3.requests.splice(0).map(({ headers }) => headers["x-amz-expected-bucket-owner"])
      yield* Effect.provide(all, layerOf(s3.url, { bucketOwner: "111122223333" }))
      assert.deepStrictEqual(owners(), Array(3).fill("111122223333"))
      yield* Effect.provide(all, layerOf(s3.url))
      assert.deepStrictEqual(owners(), Array(3).fill(undefined))
      const refused = yield* Effect.flip(Layer.build(layerOf(s3.url, { bucketOwner: "me" })))
      assert.strictEqual(refused._tag === "InvalidOptions" && refused.option, "bucketOwner")
    })
  )

  it.scopedLive("what is missing, too large, forbidden or passing is told apart", () =>
    Effect.gen(function* () {
      const s3 = yield* S3Server.make
      yield* Effect.gen(function* () {
        const store = yield* ObjectStore.ObjectStore
        yield* store.put(object, "text")
        assert.strictEqual(yield* store.get(object, 4), "text")
        expect(yield* Effect.flip(store.get(object, 3))).toMatchObject({ _tag: "ObjectTooLarge", object })
        yield* store.delete(object)
        expect(yield* Effect.flip(store.get(object, 4))).toMatchObject({ _tag: "ObjectNotFound", object })
        const answers: ReadonlyArray<readonly [S3Server.Refusal | "hang up", retryable: boolean]> = [
          [{ status: 403, code: "AccessDenied" }, false],
          [{ status: 404, code: "NoSuchBucket" }, false],
          [{ status: 400, code: "RequestTimeout" }, true],
          [{ status: 500, code: "InternalError" }, true],
          [{ status: 503, code: "SlowDown" }, true],
          ["hang up", true]
        ]
        for (const [answer, retryable] of answers) {
          for (const operation of ["put", "get", "delete"] as const) {
            s3.refusals.push(answer)
            const before = s3.requests.length
            const error = yield* Effect.flip(
              operation === "put"
                ? store.put(object, "text")
                : operation === "get"
                  ? Effect.asVoid(store.get(object, 1))
                  : store.delete(object)
            )
            expect(error).toMatchObject({ _tag: "ObjectStoreError", operation, retryable, object })
            assert.include(error.message, "orders/1 in the bucket bodies")
            // Retrying is not its business.
            assert.strictEqual(s3.requests.length, before + 1)
          }
        }
      }).pipe(Effect.provide(layerOf(s3.url)))
    })
  )

  it.scopedLive.each(["no answer", "stall"] as const)(
    "%s: a failure that may pass, and the request is aborted",
    (how) =>
      Effect.gen(function* () {
        const s3 = yield* S3Server.make
        s3.refusals.push(how)
        const error = yield* Effect.flatMap(ObjectStore.ObjectStore, (store) =>
          Effect.zipLeft(Effect.flip(store.get(object, 1000)), s3.aborted)
        ).pipe(Effect.provide(layerOf(s3.url, { timeout: "50 millis" })))
        expect(error).toMatchObject({ _tag: "ObjectStoreError", retryable: true })
        assert.include(error.message, `no answer in ${Duration.format("50 millis")}`)
      })
  )

  it.scopedLive("a client of one's own serves too", () =>
    Effect.gen(function* () {
      const s3 = yield* S3Server.make
      const client = new S3Client({
        region: "us-east-1",
        endpoint: s3.url,
        forcePathStyle: true,
        credentials: { accessKeyId: "any", secretAccessKey: "any" },
        maxAttempts: 1
      })
      for (const given of [client, Effect.succeed(client)]) {
        yield* Effect.flatMap(ObjectStore.ObjectStore, (store) => store.put(object, "text")).pipe(
          Effect.provide(S3ObjectStore.layerFrom(given))
        )
      }
      assert.strictEqual(s3.requests.length, 2)
      client.destroy()
    })
  )

  it.effect("a timeout that is none is refused", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Layer.build(layerOf("http://127.0.0.1:1", { timeout: 0 })))
      expect(error).toMatchObject({ _tag: "InvalidOptions", option: "timeout" })
    }).pipe(Effect.scoped)
  )
})
