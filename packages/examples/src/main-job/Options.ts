import { parseArgs } from "node:util"
import { SqsQueue } from "@millrace/sqs"
import { Effect, Either } from "effect"
import { BadArguments } from "../Cli.js"
import * as Monitor from "../Monitor.js"

export const usage = `Usage: npm start -- [options]

Sends 5,000 GitHub webhooks to an SQS queue and consumes them through a bounded stream;
on the embedded emulator unless told otherwise. Exits with 1 where its own verdict does not hold.

  --fast            500 webhooks: a few seconds
  --fifo            on a FIFO queue: each repository's webhooks in order
  --faults <share>  of the emulator's calls that go wrong (default 0.01; 0 for none)
  --queue <queue>   an empty standard queue on AWS, by name, URL or ARN; credentials and region
                    as for any AWS tool (AWS_PROFILE, AWS_REGION, …)
  --seed <n>        which webhooks are slow and which fail (default 1)
  --json            one line of JSON at the end
${Monitor.usage}
  --help            this text`

export interface Options {
  readonly messages: number
  readonly maxInFlight: number
  readonly concurrency: number
  readonly fifo: boolean
  readonly faults: number
  readonly queue: string | undefined
  readonly seed: number
  readonly json: boolean
  /** The port of the dashboard; `undefined` where there is to be none. */
  readonly dashboard: number | undefined
}

const parse = (args: ReadonlyArray<string>) =>
  Effect.try({
    try: () =>
      parseArgs({
        args: [...args],
        options: {
          fast: { type: "boolean", default: false },
          fifo: { type: "boolean", default: false },
          faults: { type: "string", default: "0.01" },
          queue: { type: "string" },
          seed: { type: "string", default: "1" },
          json: { type: "boolean", default: false },
          ...Monitor.options,
          help: { type: "boolean", default: false }
        }
      }).values,
    catch: (cause) => new BadArguments({ message: cause instanceof Error ? cause.message : String(cause) })
  })

/** `undefined` where the usage was asked for. */
export const read = (args: ReadonlyArray<string>): Effect.Effect<Options | undefined, BadArguments> =>
  Effect.gen(function* () {
    const { fast, faults, fifo, help, json, queue, seed, ...asked } = yield* parse(args)
    if (help) return undefined
    const dashboard = yield* Monitor.read(asked)
    if (!/^\d{1,15}$/.test(seed)) {
      return yield* new BadArguments({ message: `--seed is "${seed}"; write a whole number, such as --seed 7` })
    }
    if (!/^0(\.\d{1,6})?$/.test(faults)) {
      return yield* new BadArguments({ message: `--faults is "${faults}"; write a share below 1, such as 0.05` })
    }
    if (queue !== undefined) {
      if (fifo) return yield* new BadArguments({ message: "--fifo is for the emulator: leave --queue out" })
      yield* Either.mapLeft(
        SqsQueue.parse(queue),
        ({ message }) => new BadArguments({ message: `--queue: ${message}` })
      )
    }
    const messages = fast ? 500 : 5_000
    return {
      messages,
      maxInFlight: 100,
      concurrency: 50,
      fifo,
      faults: Number(faults),
      queue,
      seed: Number(seed),
      json,
      dashboard
    }
  })
