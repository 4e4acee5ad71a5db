/**
 * What a Lambda function costs before it has done anything: a process that imports its bundle and answers its first event,
 * less one that does nothing. The bundles are what people deploy: minified ESM, with the AWS SDK in it and without.
 */
import { execFile } from "node:child_process"
import { mkdir, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import * as Effect from "effect/Effect"
import { build, type Metafile } from "esbuild"
import { atMost, type Benchmark, type Contestant, compete, median, ours, ratiosOf, ratioTo } from "./Benchmark.js"

const powertools = "Powertools batch"
const bare = "a bare handler"
/** What any function of Effect has: a Schema and a Stream. */
const effect = "Effect alone"

/** Ten orders are parsed and handled; none fails, so that no client is needed. */
const handlers: Readonly<Record<string, string>> = {
  [ours]: `import { Pipeline } from "@millrace/core"
    import { SqsLambda } from "@millrace/sqs/lambda"
    import { Effect, Schema } from "effect"
    const Order = Schema.Struct({ id: Schema.String })
    export const handler = SqsLambda.handler(
      (deliveries) => deliveries.pipe(Pipeline.decodeJson(Order), Pipeline.process(() => Effect.void)),
      { reportBatchItemFailures: true }
    )`,
  [effect]: `import { Effect, Either, Schema, Stream } from "effect"
    const decode = Schema.decodeUnknown(Schema.parseJson(Schema.Struct({ id: Schema.String })))
    const one = (record) => Effect.as(Effect.either(decode(record.body)), record)
    export const handler = ({ Records }) =>
      Stream.fromIterable(Records).pipe(
        Stream.mapEffect(one, { concurrency: 10 }),
        Stream.runDrain,
        Effect.as({ batchItemFailures: [] }),
        Effect.runPromise
      )`,
  [powertools]: `import { BatchProcessor, EventType, processPartialResponse } from "@aws-lambda-powertools/batch"
    const processor = new BatchProcessor(EventType.SQS)
    const handle = async (record) => { JSON.parse(record.body) }
    export const handler = (event, context) => processPartialResponse(event, handle, processor, { context })`,
  [bare]: `export const handler = async ({ Records }) => {
      const batchItemFailures = []
      for (const { body, messageId } of Records)
        try { JSON.parse(body) } catch { batchItemFailures.push({ itemIdentifier: messageId }) }
      return { batchItemFailures }
    }`
}

const root = fileURLToPath(new URL("..", import.meta.url))
const sdk = ["@aws-sdk/*", "@smithy/*"]

/** The bundle's file, and the KiB that its import loads: not those of what is only imported where it is needed. */
const bundle = async (folder: string, name: string, file: string, external: ReadonlyArray<string>) => {
  const outdir = join(folder, file)
  await mkdir(outdir)
  const { metafile } = await build({
    stdin: { contents: handlers[name] ?? "", resolveDir: root, sourcefile: "index.mjs" },
    absWorkingDir: outdir,
    bundle: true,
    minify: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20",
    outExtension: { ".js": ".mjs" },
    // What of the SDK is CommonJS asks for Node's modules.
    banner: { js: "import{createRequire as nodeRequire}from'node:module';const require=nodeRequire(import.meta.url);" },
    external: [...external],
    outdir,
    entryNames: "index",
    metafile: true,
    logLevel: "silent"
  })
  return { file: join(outdir, "index.mjs"), kib: loaded(metafile, "index.mjs") / 1024 }
}

const loaded = ({ outputs }: Metafile, entry: string): number => {
  const seen = new Set<string>()
  const visit = (path: string): number => {
    const output = outputs[path]
    if (output === undefined || seen.has(path)) return 0
    seen.add(path)
    const imported = output.imports.filter(({ kind }) => kind !== "dynamic-import")
    return imported.reduce((sum, { path }) => sum + visit(path), output.bytes)
  }
  return visit(entry)
}

const record = (id: number) => ({
  messageId: String(id),
  receiptHandle: String(id),
  body: JSON.stringify({ id: String(id) }),
  attributes: { ApproximateReceiveCount: "1", SentTimestamp: "0" },
  messageAttributes: {},
  md5OfBody: "",
  eventSource: "aws:sqs",
  eventSourceARN: "arn:aws:sqs:us-east-1:000000000000:orders",
  awsRegion: "us-east-1"
})
const event = JSON.stringify({ Records: Array.from({ length: 10 }, (_, id) => record(id)) })

interface Start {
  readonly wall: number
  readonly cpu: number
}

/** Milliseconds of a process's own, from before the import to the first answer. */
const start = async (file: string): Promise<Start> => {
  const script = `const event = ${event}; const context = { getRemainingTimeInMillis: () => 30000 }
    const cpu = process.cpuUsage(), began = performance.now()
    const { handler } = await import(${JSON.stringify(file)})
    const { batchItemFailures } = await handler(event, context)
    const wall = performance.now() - began, { user, system } = process.cpuUsage(cpu)
    if (batchItemFailures.length > 0) throw new Error("a message failed")
    console.log(wall, (user + system) / 1000); process.exit()`
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], { cwd: root })
  const [wall = Number.NaN, cpu = Number.NaN] = stdout.split(" ").map(Number)
  return { wall, cpu }
}

const contestant = (name: string, file: string, walls: Array<number>): Contestant => ({
  name,
  round: Effect.promise(async () => {
    const { cpu, wall } = await start(file)
    walls.push(wall)
    return { messagesPerSecond: Number.NaN, cpuMicros: cpu * 1000, callsPer1000: Number.NaN }
  })
})

export const benchmark: Benchmark = {
  about: "a Lambda function's import and first event, against Powertools batch and a bare handler; its bundle",
  run: ({ quick }) =>
    Effect.gen(function* () {
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "millrace-cold-start-"))),
        (made) => Effect.promise(() => rm(made, { recursive: true, force: true }))
      )
      const names = Object.keys(handlers)
      const bundles = yield* Effect.promise(() =>
        Promise.all(
          names.map(async (name, i) => ({
            name,
            walls: [] as number[],
            whole: await bundle(folder, name, `whole-${i}`, []),
            without: await bundle(folder, name, `without-${i}`, sdk)
          }))
        )
      )
      const contestants = bundles.map(({ name, walls, whole }) => contestant(name, whole.file, walls))
      const results = yield* compete(contestants, quick ? 5 : 21)
      const kib = (name: string) => bundles.find((each) => each.name === name)?.whole.kib ?? Number.NaN
      return {
        title: "a process that imports a function's bundle and answers an event of 10 messages",
        rows: bundles.map(
          ({ name, walls, whole, without }) =>
            [
              name,
              {
                wallMillis: median(walls),
                cpuMillis: median((results.get(name) ?? []).map(({ cpuMicros }) => cpuMicros / 1000)),
                bundleKiB: whole.kib,
                withoutSdkKiB: without.kib
              }
            ] as const
        ),
        ratioOf: "cpuMicros",
        ratio: ratiosOf(results, "cpuMicros"),
        bounds: [
          atMost(`CPU, of ${effect}`, ratioTo(results, effect, "cpuMicros"), 1.5),
          atMost(`KiB more in the bundle than ${effect}`, kib(ours) - kib(effect), 90)
        ],
        notes: [
          "milliseconds from before the import to the answer; Node's own start is not in it, its compile cache is off",
          "esbuild: minified ESM for Node 20, in chunks; KiB of the entry's file, the SDK in the bundle and left out"
        ]
      }
    }).pipe(Effect.scoped)
}
