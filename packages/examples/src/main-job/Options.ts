import { parseArgs } from "node:util"
import { SqsQueue } from "@millrace/sqs"
import { Effect, Either } from "effect"
import { BadArguments } from "../Cli.js"

export const usage = `Usage: npm start -- [options]

Sends 5,000 GitHub webhooks to an SQS queue and consumes them through a bounded stream;
on the embedded emulator unless told otherwise. Exits with 1 where its own verdict does not hold.

  --fast            500 webhooks: a few seconds
  --queue <queue>   an empty standard queue on AWS, by name, URL or ARN; credentials and region
                    as for any AWS tool (AWS_PROFILE, AWS_REGION, …)
  --seed <n>        which webhooks are slow and which fail (default 1)
  --json            one line of JSON at the end
  --help            this text`

export interface Options {
  readonly messages: number
  readonly maxInFlight: number
  readonly concurrency: number
  readonly queue: string | undefined
  readonly seed: number
  readonly json: boolean
}

const parse = (args: ReadonlyArray<string>) =>
  Effect.try({
    try: () =>
      parseArgs({
        args: [...args],
        options: {
          fast: { type: "boolean", default: false },
          queue: { type: "string" },
          seed: { type: "string", default: "1" },
          json: { type: "boolean", default: false },
          help: { type: "boolean", default: false }
        }
      }).values,
    catch: (cause) => new BadArguments({ message: cause instanceof Error ? cause.message : String(cause) })
  })

/** `undefined` where the usage was asked for. */
export const read = (args: ReadonlyArray<string>): Effect.Effect<Options | undefined, BadArguments> =>
  Effect.gen(function* () {
    const { fast, help, json, queue, seed } = yield* parse(args)
    if (help) return undefined
    if (!/^\d{1,15}$/.test(seed)) {
      return yield* new BadArguments({ message: `--seed is "${seed}"; write a whole number, such as --seed 7` })
    }
    if (queue !== undefined) {
      yield* Either.mapLeft(
        SqsQueue.parse(queue),
        ({ message }) => new BadArguments({ message: `--queue: ${message}` })
      )
    }
    return { messages: fast ? 500 : 5_000, maxInFlight: 100, concurrency: 50, queue, seed: Number(seed), json }
  })
