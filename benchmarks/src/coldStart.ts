/**
 * What it costs to begin: the CPU time of a process that imports a consumer, against one that imports what nobody can
 * do without (the modules of Effect that it needs, and the SDK's client), and our own part of a bundle.
 */
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import * as Effect from "effect/Effect"
import { build, type Metafile } from "esbuild"
import { atMost, type Benchmark, type Contestant, compete, type Figures, ours, ratiosOf, ratioTo } from "./Benchmark.js"

const needed = "what it needs"
const sdk = "the SDK's client"
const whole = "effect, whole"

/** What a program of one consumer imports, as the docs show it. */
const consumer = [
  'import * as SqsConsumer from "@millrace/sqs/SqsConsumer"',
  'import * as SqsClient from "@millrace/sqs/SqsClient"',
  'import * as Pipeline from "@millrace/core/Pipeline"',
  "console.log(SqsConsumer.stream, SqsClient.layer, Pipeline.process)"
].join("\n")

const root = fileURLToPath(new URL("..", import.meta.url))

const bundle = (external: ReadonlyArray<string>): Promise<Metafile> =>
  build({
    stdin: { contents: consumer, resolveDir: root },
    bundle: true,
    minify: true,
    format: "esm",
    platform: "node",
    target: "node20",
    external: [...external],
    metafile: true,
    write: false,
    logLevel: "silent"
  }).then(({ metafile }) => metafile)

/** Our own modules' part of the bundle, in bytes. */
const ourBytes = ({ outputs }: Metafile): number =>
  Object.values(outputs)
    .flatMap(({ inputs }) => Object.entries(inputs))
    .filter(([path]) => /packages\/(core|sqs)\/dist\//.test(path))
    .reduce((sum, [, { bytesInOutput }]) => sum + bytesInOutput, 0)

/** The modules of others that ours import as they load; what is imported later (a proxy's agent) costs nothing at the start. */
const externalsOf = ({ inputs }: Metafile): ReadonlyArray<string> => {
  const found = new Set<string>()
  const seen = new Set<string>()
  const visit = (path: string): void => {
    if (seen.has(path)) return
    seen.add(path)
    for (const { external, kind, path: imported } of inputs[path]?.imports ?? []) {
      if (kind === "dynamic-import") continue
      if (external !== true) visit(imported)
      else if (!imported.startsWith("node:")) found.add(imported)
    }
  }
  visit("<stdin>")
  return [...found]
}

/** A process that does nothing but import them, less one that imports nothing. */
const importing = (name: string, modules: ReadonlyArray<string>): Contestant => ({
  name,
  round: Effect.promise(async (): Promise<Figures> => {
    const cpu = await cpuOf(modules)
    return { messagesPerSecond: Number.NaN, cpuMicros: cpu - (await cpuOf([])), callsPer1000: Number.NaN }
  })
})

const cpuOf = async (modules: ReadonlyArray<string>): Promise<number> => {
  const script = `${modules.map((module) => `await import(${JSON.stringify(module)});`).join("")}
    const { user, system } = process.cpuUsage(); console.log(user + system)`
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], { cwd: root })
  return Number(stdout)
}

const millis = (results: ReadonlyMap<string, ReadonlyArray<Figures>>, name: string): number => {
  const sorted = (results.get(name) ?? []).map(({ cpuMicros }) => cpuMicros / 1000).sort((a, b) => a - b)
  return sorted[sorted.length >> 1] ?? Number.NaN
}

export const benchmark: Benchmark = {
  about: "CPU time to import a consumer, against that of the modules that it needs; our part of a bundle",
  run: ({ quick }) =>
    Effect.gen(function* () {
      const [meta, tree] = yield* Effect.promise(() =>
        Promise.all([bundle([]), bundle(["effect", "effect/*", "@effect/*", "@aws-sdk/*", "@smithy/*"])])
      )
      const others = externalsOf(tree)
      const contestants = [
        importing(ours, ["@millrace/sqs/SqsConsumer"]),
        importing(needed, [...others]),
        importing(sdk, ["@aws-sdk/client-sqs"]),
        importing(whole, ["effect"])
      ]
      const results = yield* compete(contestants, quick ? 5 : 15)
      const kib = ourBytes(meta) / 1024
      return {
        title: "a process that imports a consumer and ends",
        rows: contestants.map(({ name }) => [name, { importMillis: millis(results, name) }] as const),
        ratioOf: "cpuMicros",
        ratio: ratiosOf(results, "cpuMicros"),
        bounds: [
          atMost(`CPU, of ${needed}`, ratioTo(results, needed, "cpuMicros"), 1.2),
          atMost("KiB of ours in a minified bundle", kib, 90)
        ],
        notes: [
          "milliseconds of CPU, less those of a process that imports nothing; Node's compile cache is off",
          `${needed}: ${others.length} modules, as the bundler finds them: ${others.filter((path) => path.startsWith("effect/")).length} of Effect, and ${others.filter((path) => !path.startsWith("effect/")).join(", ")}`,
          "the bundle is of a consumer, its client and Pipeline.process, by esbuild"
        ]
      }
    })
}
