/**
 * Many seeds of a fleet of consumers on an emulated queue on which everything goes wrong that can.
 *
 *   npm run simulate -- --help
 */
import { parseArgs } from "node:util"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import * as Cli from "../Cli.js"
import { count } from "../Format.js"
import * as Fleet from "./Fleet.js"

const usage = `Usage: npm run simulate -- [options]

Plays fleets of 1 to 20 consumers on the emulator in virtual time: handlers that fail, die and never end, faulty calls,
consumers that are killed, frozen, drained and started, and clocks that jump. Each seed is another play; the invariants
are judged all along. Exits with 1 at the first seed that breaks one.

  --seeds <n>   how many (default 1,000)
  --from <n>    the first (default 0)
  --seed <n>    this one alone
  --verbose     all that happens
  --help        this text`

const whole = (option: string, value: string) =>
  /^\d{1,9}$/.test(value)
    ? Effect.succeed(Number(value))
    : new Cli.BadArguments({ message: `--${option} is "${value}"; write a whole number, such as --${option} 7` })

const read = Effect.try({
  try: () =>
    parseArgs({
      options: {
        seeds: { type: "string", default: "1000" },
        from: { type: "string", default: "0" },
        seed: { type: "string" },
        verbose: { type: "boolean", default: false },
        help: { type: "boolean", default: false }
      }
    }).values,
  catch: (cause) => new Cli.BadArguments({ message: cause instanceof Error ? cause.message : String(cause) })
})

const main = Effect.gen(function* () {
  const { help, verbose, ...options } = yield* read
  if (help) return yield* Effect.as(Console.log(usage), 0)
  const from = yield* whole("from", options.seed ?? options.from)
  const seeds = options.seed === undefined ? yield* whole("seeds", options.seeds) : 1
  let wakes = 0
  let seconds = 0
  for (let seed = from; seed < from + seeds; seed++) {
    const outcome = Fleet.run(seed, verbose)
    wakes += outcome.wakes
    seconds += outcome.seconds
    if (verbose) yield* Console.log(outcome.lines.join("\n"))
    if (outcome.failure !== undefined) {
      if (!verbose) yield* Console.log(Fleet.run(seed, true).lines.slice(-30).join("\n"))
      yield* Console.error(
        `\nSeed ${seed} fails: ${outcome.failure}\n\nAgain: npm run simulate -- --seed ${seed} --verbose`
      )
      return 1
    }
    if ((seed - from) % 500 === 499)
      yield* Effect.zipRight(Console.log(`${count(seed - from + 1)} seeds`), Effect.yieldNow())
  }
  yield* Console.log(
    `${count(seeds)} seeds, ${count(Math.round(seconds / 3600))} hours of virtual time, ${count(wakes)} wakes: every invariant holds.`
  )
  return 0
})

NodeRuntime.runMain(Cli.exitWith(main, usage), { teardown: Cli.teardown })
