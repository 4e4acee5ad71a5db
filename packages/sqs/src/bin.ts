#!/usr/bin/env node
/** `millrace-sqs emulator`: the SQS emulator over HTTP, until it is interrupted. */
import { parseArgs } from "node:util"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqsEmulator, SqsHttp } from "./emulator/index.js"

const usage = `Usage: millrace-sqs emulator [--port 9324] [--host 127.0.0.1] [--queue name]...

  --port   where to listen; 0 picks a free port
  --host   the address to listen on; 0.0.0.0 lets other machines in
  --queue  a queue to start with, as often as there are queues; a name with .fifo makes a FIFO queue
  --help   this text`

interface Arguments {
  readonly port: number
  readonly host: string
  readonly queues: ReadonlyArray<string>
}

/** What was asked for, or what to print instead. */
const read = (args: ReadonlyArray<string>): Arguments | { readonly print: string; readonly failed: boolean } => {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        port: { type: "string", default: "9324" },
        host: { type: "string", default: "127.0.0.1" },
        queue: { type: "string", multiple: true, default: [] },
        help: { type: "boolean", default: false }
      }
    })
    if (values.help) return { print: usage, failed: false }
    if (positionals.length !== 1 || positionals[0] !== "emulator") return { print: usage, failed: true }
    const port = /^\d+$/.test(values.port) ? Number(values.port) : Number.NaN
    return { port, host: values.host, queues: values.queue }
  } catch (cause) {
    return { print: `${cause instanceof Error ? cause.message : cause}\n\n${usage}`, failed: true }
  }
}

const emulator = ({ port, host, queues }: Arguments) => {
  const served = SqsHttp.layer({ port, host }).pipe(
    Layer.provideMerge(SqsEmulator.layer({ queues: Object.fromEntries(queues.map((name) => [name, {}])) }))
  )
  return Effect.flatMap(SqsHttp.SqsHttp, ({ endpoint }) =>
    Effect.zipRight(
      Console.log(
        `The SQS emulator listens on ${endpoint} (stop it with Ctrl+C).\n` +
          `Point an AWS SDK or the CLI at it: AWS_ENDPOINT_URL_SQS=${endpoint} AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any`
      ),
      Effect.never
    )
  ).pipe(Effect.provide(served))
}

const asked = read(process.argv.slice(2))

NodeRuntime.runMain(
  "print" in asked
    ? Effect.zipRight(
        asked.failed ? Console.error(asked.print) : Console.log(asked.print),
        Effect.sync(() => {
          process.exitCode = asked.failed ? 2 : 0
        })
      )
    : emulator(asked).pipe(
        Effect.catchAll((error) =>
          Effect.zipRight(
            Console.error(error.message),
            Effect.sync(() => {
              process.exitCode = 1
            })
          )
        )
      )
)
