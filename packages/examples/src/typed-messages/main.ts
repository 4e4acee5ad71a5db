/**
 * Orders and mails as types: sent, handled, lifted from an older version; and the document of it all.
 *
 *   npm run typed-messages -- --help
 */
import { resolve } from "node:path"
import { parseArgs } from "node:util"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Logger, LogLevel } from "effect"
import * as Cli from "../Cli.js"
import * as Story from "../Story.js"
import { document } from "./Document.js"
import { play } from "./Play.js"

const usage = `Usage: npm run typed-messages -- [options]

Orders of several types and versions go through a queue of the emulator, in virtual time, each to the handler of
its type; and an AsyncAPI document of the program is written, from the same declarations.

  --out <file>  where the document goes (default asyncapi.json)
  --help        this text`

const read = Effect.try({
  try: () =>
    parseArgs({
      options: { out: { type: "string", default: "asyncapi.json" }, help: { type: "boolean", default: false } }
    }).values,
  catch: (cause) => new Cli.BadArguments({ message: cause instanceof Error ? cause.message : String(cause) })
})

const main = Effect.gen(function* () {
  const options = yield* read
  if (options.help) return yield* Effect.as(Console.log(usage), 0)
  const { deadLetters, mails } = yield* Story.simulated(play.pipe(Logger.withMinimumLogLevel(LogLevel.None)))
  for (const { text, to } of mails) yield* Console.log(`mail to ${to}: ${text}`)
  for (const body of deadLetters) yield* Console.log(`dead letter: ${body}`)
  yield* Story.write("The document", resolve(options.out), `${JSON.stringify(document, null, 2)}\n`)
  return 0
})

NodeRuntime.runMain(Cli.exitWith(main, usage), { teardown: Cli.teardown })
