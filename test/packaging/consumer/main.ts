import { LeaseQueue } from "@millrace/core"
import { SqsClient } from "@millrace/sqs"
import { Effect } from "effect"

const program = Effect.succeed([LeaseQueue, SqsClient].length === 2 ? "a, b, c" : "nothing")
console.log(`handled ${await Effect.runPromise(program)}`)
