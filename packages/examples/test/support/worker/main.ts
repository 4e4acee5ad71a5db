/** A consumer in a process of its own, which says on stdout what it begins and what it has handled. */
import { NodeRuntime } from "@effect/platform-node"
import { Pipeline } from "@millrace/core"
import { SqsClient, SqsConsumer } from "@millrace/sqs"
import { Effect, Stream } from "effect"

const say = (what: string, body: string) => Effect.sync(() => process.stdout.write(`${what} ${body}\n`))

SqsConsumer.stream("jobs", { maxInFlight: 60 }).pipe(
  Pipeline.process(
    (body) => Effect.zipRight(Effect.zipRight(say("begins", body), Effect.sleep("100 millis")), say("handled", body)),
    { concurrency: 20 }
  ),
  Stream.runDrain,
  Effect.provide(SqsClient.layerConfig()),
  NodeRuntime.runMain
)
