/** The span of a call has what AWS calls its request, and no other span does. */
import { SQSClient } from "@aws-sdk/client-sqs"
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Layer, type Tracer } from "effect"
import { SqsClient } from "../src/index.js"
import * as FakeServer from "./support/FakeServer.js"

const url = "http://sqs.us-east-1.localhost:4566/000000000000/orders"
const queue = { "aws.sqs.queue.url": url }

const clients: Readonly<Record<string, (endpoint: string) => Layer.Layer<SqsClient.SqsClient, unknown>>> = {
  layer: FakeServer.layer,
  layerFrom: (endpoint) =>
    SqsClient.layerFrom(
      new SQSClient({
        region: "us-east-1",
        endpoint,
        maxAttempts: 1,
        credentials: { accessKeyId: "test", secretAccessKey: "test" }
      })
    )
}

describe.each(Object.entries(clients))("the request's id, by %s", (_, client) => {
  const idIn = (span: { readonly name: string } & Tracer.SpanOptions, answer: FakeServer.Answer) =>
    Effect.gen(function* () {
      const { url: endpoint } = yield* FakeServer.make(() => ({
        ...answer,
        headers: { ...answer.headers, "x-amzn-requestid": "the-request" }
      }))
      return yield* Effect.flatMap(SqsClient.SqsClient, (sqs) =>
        Effect.zipRight(
          Effect.exit(sqs.receiveMessage({ QueueUrl: url, WaitTimeSeconds: 0 })),
          Effect.map(Effect.currentSpan, ({ attributes }) => attributes.get("aws.request_id"))
        )
      ).pipe(Effect.withSpan(span.name, span), Effect.provide(client(endpoint)))
    })
  const receive = { name: "receive orders", kind: "client", attributes: queue } as const

  it.scopedLive("is told of an answer and of a refusal", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* idIn(receive, {}), "the-request")
      assert.strictEqual(yield* idIn(receive, FakeServer.refusal(400, "AccessDenied", "no")), "the-request")
    })
  )

  it.scopedLive("is not told of the program's own spans, nor of a handler's, nor of another queue's", () =>
    Effect.gen(function* () {
      for (const span of [
        { ...receive, attributes: {} },
        { ...receive, kind: "consumer" as const },
        { ...receive, attributes: { "aws.sqs.queue.url": `${url}-other` } }
      ]) {
        assert.isUndefined(yield* idIn(span, {}))
      }
    })
  )
})
