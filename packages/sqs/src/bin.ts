#!/usr/bin/env node
/** `millrace-sqs emulator`: the SQS emulator over HTTP, until it is interrupted. */
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { SqsEmulator, SqsHttp } from "./emulator/index.js"
import { interrupt, onEnd } from "./internal/effect/fork.js"
import * as Command from "./internal/emulator/Command.js"

const emulator = (command: Command.Command) => {
  const served = SqsHttp.layer(command.http).pipe(Layer.provideMerge(SqsEmulator.layer(command.emulator)))
  const region = command.emulator.region ?? "us-east-1"
  return Effect.flatMap(SqsHttp.SqsHttp, ({ endpoint }) =>
    Effect.zipRight(
      Console.log(
        `The SQS emulator listens on ${endpoint} (stop it with Ctrl+C).\n` +
          `Point an AWS SDK or the CLI at it: AWS_ENDPOINT_URL_SQS=${endpoint} AWS_REGION=${region} AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any`
      ),
      Effect.never
    )
  ).pipe(Effect.provide(served))
}

const exitWith = (code: number) =>
  Effect.sync(() => {
    process.exitCode = code
  })

const asked = Command.read(process.argv.slice(2))

// By hand, so that the command needs nothing that a consumer does not need.
const fiber = Effect.runFork(
  asked instanceof Command.Print
    ? Effect.zipRight(
        asked.failed ? Console.error(asked.text) : Console.log(asked.text),
        exitWith(asked.failed ? 2 : 0)
      )
    : Effect.catchAll(emulator(asked), (error) => Effect.zipRight(Console.error(error.message), exitWith(1)))
)

const stop = () => interrupt(fiber)
process.once("SIGINT", stop)
process.once("SIGTERM", stop)
onEnd(fiber, (exit) => {
  process.off("SIGINT", stop)
  process.off("SIGTERM", stop)
  if (Exit.isFailure(exit) && !Exit.isInterrupted(exit)) {
    console.error(Cause.pretty(exit.cause))
    process.exitCode = 1
  }
})
