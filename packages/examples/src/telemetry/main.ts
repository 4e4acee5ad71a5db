/**
 * Spans and metrics of a small shop, sent to an OpenTelemetry collector.
 *
 *   npm run telemetry -- --help
 */
import { parseArgs } from "node:util"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Array as EffectArray } from "effect"
import * as Cli from "../Cli.js"
import { table } from "../Format.js"
import * as Collector from "./Collector.js"
import * as Shop from "./Shop.js"
import * as Telemetry from "./Telemetry.js"

const usage = `Usage: npm run telemetry -- [options]

Sends ${Shop.orders} orders through a queue and fulfils them, with a span for each step, and sends spans and metrics by
OTLP over HTTP: to a collector of its own, which prints what it got, or to yours.

  --collector <url>  such as http://localhost:4318
  --help             this text`

const read = Effect.try({
  try: () =>
    parseArgs({ options: { collector: { type: "string" }, help: { type: "boolean", default: false } } }).values,
  catch: (cause) => new Cli.BadArguments({ message: cause instanceof Error ? cause.message : String(cause) })
})

const checked = (url: string) =>
  /^https?:\/\/./.test(url) && URL.canParse(url)
    ? Effect.succeed(url)
    : new Cli.BadArguments({ message: `--collector is "${url}"; write a URL, such as http://localhost:4318` })

/** What a collector got, by name. */
const report = Effect.gen(function* () {
  const collector = yield* Collector.Collector
  const byName = Object.entries(EffectArray.groupBy(yield* collector.spans, ({ name }) => name))
  const spans = byName.map(([name, all]) => [
    name,
    String(all.length),
    String(all.filter(({ links }) => links.length > 0).length)
  ])
  const metrics = [...(yield* collector.metrics).values()].flatMap(({ gauge, histogram, name, sum }) => {
    const [point] = (sum ?? gauge ?? histogram)?.dataPoints ?? []
    return point === undefined || !name.startsWith("millrace_")
      ? []
      : [[name, String(point.asDouble ?? point.asInt ?? point.count)]]
  })
  return [
    table([["spans", "", "linked"], ...spans], ["left", "right", "right"]),
    table([["metrics", ""], ...metrics], ["left", "right"])
  ].join("\n\n")
})

const main = Effect.gen(function* () {
  const options = yield* read
  if (options.help) return yield* Effect.as(Console.log(usage), 0)
  if (options.collector !== undefined) {
    const url = yield* checked(options.collector)
    // Closing the layer sends what is left.
    yield* Effect.provide(Shop.program, Telemetry.layer(url))
    return yield* Effect.as(Console.log(`Sent to ${url}.`), 0)
  }
  const told = Effect.gen(function* () {
    const { url } = yield* Collector.Collector
    yield* Effect.provide(Shop.program, Telemetry.layer(url))
    return yield* report
  })
  return yield* Effect.as(Effect.flatMap(Effect.provide(told, Collector.layer), Console.log), 0)
})

NodeRuntime.runMain(Cli.exitWith(main, usage), { teardown: Cli.teardown })
