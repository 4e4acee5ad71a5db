/** `npm run bench -- <name>`: runs one benchmark and prints what it found. */
import { parseArgs } from "node:util"
import * as Effect from "effect/Effect"
import { type Benchmark, print } from "./Benchmark.js"

// The notice that this Node version will be dropped one day, which each client of the AWS SDK would print.
process.env["AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"] = "true"

const names = [
  "dispatch",
  "sdk",
  "sdk-tls",
  "cold-start",
  "lambda-cold-start",
  "tail",
  "memory",
  "emulator",
  "producer",
  "fifo",
  "once"
] as const

// One at a time: what another benchmark imports is not loaded.
const load = async (name: (typeof names)[number]): Promise<Benchmark> => {
  switch (name) {
    case "dispatch":
      return (await import("./dispatch.js")).benchmark
    case "sdk":
      return (await import("./sdk.js")).benchmark
    case "sdk-tls":
      return (await import("./sdk.js")).overTls
    case "cold-start":
      return (await import("./coldStart.js")).benchmark
    case "lambda-cold-start":
      return (await import("./lambdaColdStart.js")).benchmark
    case "tail":
      return (await import("./tail.js")).benchmark
    case "memory":
      return (await import("./memory.js")).benchmark
    case "emulator":
      return (await import("./emulator.js")).benchmark
    case "once":
      return (await import("./once.js")).benchmark
    case "fifo":
      return (await import("./fifo.js")).benchmark
    case "producer":
      return (await import("./producer.js")).benchmark
  }
}

const usage = async () => {
  const lines = await Promise.all(names.map(async (name) => `  ${name.padEnd(18)}${(await load(name)).about}`))
  return `Usage: npm run bench -- <name> [--quick] [--all] [--json]

${lines.join("\n")}

  --quick   a short form, for a first look
  --all     also the variants that say little new
  --json    one line of JSON last`
}

const main = async () => {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: "boolean", default: false },
      all: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false }
    }
  })
  if (values.help || positionals.length === 0) return console.log(await usage())
  const name = names.find((each) => each === positionals[0])
  if (name === undefined || positionals.length > 1) {
    throw new Error(`there is no benchmark "${positionals.join(" ")}"; there are ${names.join(", ")}`)
  }
  const { run } = await load(name)
  print(name, await Effect.runPromise(run({ quick: values.quick, all: values.all })), values.json)
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
})
