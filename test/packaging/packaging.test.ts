/**
 * What npm would publish, as a stranger meets it: the packages are built, packed, installed into an empty project and
 * used there. With PEERS=lowest that project gets the lowest version of every peer range.
 */
import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { long } from "../long.js"

const root = fileURLToPath(new URL("../../", import.meta.url))
const lowestPeers = process.env["PEERS"] === "lowest"
const packages = ["core", "sqs", "http", "dashboard", "sql", "redis", "dynamodb", "promise"]

interface Manifest {
  readonly version: string
  readonly dependencies?: Readonly<Record<string, string>>
  readonly peerDependencies: Readonly<Record<string, string>>
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>
}
const manifest = async (folder: string): Promise<Manifest> =>
  JSON.parse(await readFile(join(folder, "package.json"), "utf8"))

/** npm tells its children where it runs; the npm that installs elsewhere must not hear it. */
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^npm_(config_local|package|lifecycle)/.test(name))
)

/** Runs a program and gives what it wrote; a failure carries all of it. */
const run = (cwd: string, command: string, ...args: ReadonlyArray<string>) =>
  new Promise<string>((resolve, reject) => {
    const shell = process.platform === "win32" && command === "npm"
    execFile(command, args, { cwd, env, shell, maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else reject(new Error(`${command} ${args.join(" ")}\n${stdout}${stderr}`, { cause: error }))
    })
  })
/** Runs a development tool of this repository. */
const tool = (cwd: string, script: string, ...args: ReadonlyArray<string>) =>
  run(cwd, process.execPath, join(root, "node_modules", script), ...args)
const tsc = "typescript/bin/tsc"

// Compilers and npm are at work here, perhaps on a busy machine.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 300_000 })

/** Some minutes of npm and compilers, for CI and for whoever changes what is published. */
const described = describe.runIf(long || lowestPeers)

let temporary = ""
let consumer = ""
/** A project with nothing but what a consumer and a producer need. */
let bare = ""
const tarballs: Record<string, string> = {}

const quiet = ["--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]

/** The peers that npm installs for a newcomer, or all, at the versions of this repository, or the lowest. */
const peersOf = async (folders: ReadonlyArray<string>, which: "all" | "required"): Promise<Record<string, string>> => {
  const peers: Record<string, string> = {}
  for (const folder of folders) {
    const { peerDependencies, peerDependenciesMeta } = await manifest(join(root, "packages", folder))
    for (const [name, range] of Object.entries(peerDependencies)) {
      if (which === "required" && peerDependenciesMeta?.[name]?.optional === true) continue
      peers[name] = lowestPeers
        ? range.replace(/^[\^~]|^>=/, "")
        : (await manifest(join(root, "node_modules", name))).version
    }
  }
  return peers
}

/** Makes of a folder a project with packages of ours, as packed, and their peers. */
const install = async (folder: string, names: ReadonlyArray<string>, peers: Record<string, string>) => {
  const own = names.map((name) => [`@millrace/${name}`, `file:${tarballs[name]}`])
  await writeFile(
    join(folder, "package.json"),
    JSON.stringify({ private: true, type: "module", dependencies: { ...Object.fromEntries(own), ...peers } })
  )
  // The lowest peers would not suit the newest of their own peers, which npm would add; none of those is needed.
  await run(folder, "npm", "install", ...quiet, ...(lowestPeers ? ["--legacy-peer-deps"] : []))
}

beforeAll(async () => {
  temporary = await mkdtemp(join(tmpdir(), "millrace-packaging-"))
  consumer = join(temporary, "consumer")
  await tool(root, tsc, "-b", ...packages.map((name) => `packages/${name}`))
  for (const name of packages) {
    const folder = join(root, "packages", name)
    await run(folder, "npm", "pack", "--silent", "--pack-destination", temporary)
    tarballs[name] = join(temporary, `millrace-${name}-${(await manifest(folder)).version}.tgz`)
  }

  await cp(join(root, "test/packaging/consumer"), consumer, { recursive: true })
  await install(consumer, packages, await peersOf(packages, "all"))
  bare = join(temporary, "bare")
  await cp(join(root, "test/packaging/consumer"), bare, { recursive: true })
  const { version } = await manifest(join(root, "node_modules/@types/aws-lambda"))
  await install(bare, ["core", "sqs"], {
    ...(await peersOf(["core", "sqs"], "required")),
    "@types/aws-lambda": version
  })
})

afterAll(() => rm(temporary, { recursive: true, force: true }))

described.each(packages)("the tarball of %s", (name) => {
  it("has nothing that publint objects to", () =>
    tool(root, "publint/src/cli.js", "run", tarballs[name] ?? "", "--strict"))

  it("has types that resolve as its modules do", () =>
    tool(root, "@arethetypeswrong/cli/dist/index.js", tarballs[name] ?? "", "--profile", "esm-only"))

  // Its functions are its barrel.
  it.skipIf(name === "promise")("offers each module of the barrel at its own path", async () => {
    const barrel = await readFile(join(root, "packages", name, "src/index.ts"), "utf8")
    const modules = [...barrel.matchAll(/^export \* as (\w+) from/gm)].map(([, module]) => module)
    expect(modules).not.toEqual([])
    const same = `const all = await import("@millrace/${name}");
      for (const module of ${JSON.stringify(modules)})
        if ((await import("@millrace/${name}/" + module)) !== all[module]) throw new Error(module)`
    await run(consumer, process.execPath, "--input-type=module", "--eval", same)
  })

  it("imports only what it declares", async () => {
    const folder = join(consumer, "node_modules/@millrace", name)
    const { dependencies = {}, peerDependencies } = await manifest(folder)
    const declared = [`@millrace/${name}`, ...Object.keys(dependencies), ...Object.keys(peerDependencies)]
    const imported = new Set<string>()
    for (const file of await readdir(join(folder, "dist"), { recursive: true })) {
      if (!/\.(js|d\.ts)$/.test(file)) continue
      const text = await readFile(join(folder, "dist", file), "utf8")
      const code = text.replace(/^\s*\*.*$/gm, "")
      for (const [, path = ""] of code.matchAll(/(?<!")\b(?:from\s*|import\s*\(?\s*)"([^".][^"]*)"/g)) {
        if (!path.startsWith("node:")) imported.add(path.split("/", path.startsWith("@") ? 2 : 1).join("/"))
      }
    }
    expect(imported).toContain("effect")
    expect([...imported].filter((path) => !declared.includes(path))).toEqual([])
  })

  it("loads no optional peer with what most programs import", async () => {
    const { peerDependenciesMeta = {} } = await manifest(join(consumer, "node_modules/@millrace", name))
    const optional = Object.keys(peerDependenciesMeta).filter((peer) => peerDependenciesMeta[peer]?.optional)
    // As where it is not installed.
    const hooks = `export const resolve = (specifier, context, next) => {
      if (${JSON.stringify(optional)}.includes(specifier)) throw new Error(specifier + " is not installed")
      return next(specifier, context)
    }`
    const program = `import { register } from "node:module"
      register("data:text/javascript," + encodeURIComponent(${JSON.stringify(hooks)}))
      await import("@millrace/${name}")
      await import("@millrace/${name}${{ core: "/testing", sqs: "/emulator", promise: "/testing" }[name] ?? ""}")
      for (const peer of ${JSON.stringify(optional)})
        await import(peer).then(() => console.log(peer), () => {})`
    expect(await run(consumer, process.execPath, "--input-type=module", "--eval", program)).toBe("")
  })

  it("keeps what is internal to itself", async () => {
    const dist = join(consumer, "node_modules/@millrace", name, "dist")
    const files = await readdir(dist, { recursive: true })
    const hidden = files
      .map((file) => file.replaceAll("\\", "/"))
      .filter((file) => /(^|\/)internal\/.*\.js$/.test(file) || file === "bin.js")
      .map((file) => `@millrace/${name}/${file.replace(/\.js$/, "")}`)
    if (name !== "http") expect(hidden).not.toEqual([])
    const refused = `for (const path of ${JSON.stringify(hidden)})
        await import(path).then(() => console.log(path), (error) => {
          if (error.code !== "ERR_PACKAGE_PATH_NOT_EXPORTED") throw error
        })`
    expect(await run(consumer, process.execPath, "--input-type=module", "--eval", refused)).toBe("")
  })
})

described("a project that only consumes and produces", () => {
  it("gets no HTTP server, nor another package that only some modules need", async () => {
    const scopes = ["@effect", "@aws-sdk"]
    const present = await Promise.all(
      scopes.map((scope) => readdir(join(bare, "node_modules", scope)).catch(() => [] as ReadonlyArray<string>))
    )
    // Older clients of AWS bring those that credentials come from.
    expect(present.flat().filter((name) => /^(platform|client-(?!sqs$|sso|sts$))/.test(name))).toEqual([])
  })

  it("type-checks and runs, and so does the emulator's command", async () => {
    await writeFile(
      join(bare, "main.ts"),
      `import { Pipeline } from "@millrace/core"
      import { SqsConsumer, SqsProducer } from "@millrace/sqs"
      import { SqsEmulator } from "@millrace/sqs/emulator"
      import { Effect, Stream } from "effect"

      const program = Effect.gen(function* () {
        const orders = yield* SqsProducer.make("orders")
        yield* Stream.run(Stream.make("a", "b", "c"), orders.sink)
        const handled = SqsConsumer.stream("orders").pipe(
          Pipeline.process((body) => Effect.succeed(body)),
          Stream.take(3),
          Stream.runCollect
        )
        console.log([...(yield* handled)].sort().join(", "))
      }).pipe(Effect.scoped)
      await Effect.runPromise(Effect.provide(program, SqsEmulator.layer({ queues: { orders: {} } })))`
    )
    await tool(bare, tsc, "-p", ".", "--skipLibCheck")
    expect((await run(bare, process.execPath, "main.js")).trim()).toBe("a, b, c")
    expect(await run(bare, "npm", "exec", "--no", "--", "@millrace/sqs", "--help")).toContain("millrace-sqs emulator")
  })

  it("type-checks and runs as a Lambda function, by the types of @types/aws-lambda", async () => {
    await writeFile(
      join(bare, "lambda.ts"),
      `import { Pipeline, RetryPolicy } from "@millrace/core"
      import { LambdaEvent, SqsLambda } from "@millrace/sqs/lambda"
      import type { Context, SQSBatchResponse, SQSEvent, SQSHandler } from "aws-lambda"
      import { Effect, Layer } from "effect"

      export const handler = SqsLambda.handler(
        (deliveries) =>
          deliveries.pipe(
            Pipeline.process((body) => (body === "bad" ? Effect.fail("no") : Effect.void), { retry: RetryPolicy.leave })
          ),
        { layer: Layer.empty, reportBatchItemFailures: true }
      )
      export const typed: SQSHandler = handler
      export const answer: (event: SQSEvent, context: Context) => Promise<SQSBatchResponse> = handler
      export const records = (event: SQSEvent) => LambdaEvent.parse(event)`
    )
    const compilerOptions = { skipLibCheck: true }
    await writeFile(
      join(bare, "tsconfig.lambda.json"),
      JSON.stringify({ extends: "./tsconfig.json", compilerOptions, files: ["lambda.ts"] })
    )
    await tool(bare, tsc, "-p", "tsconfig.lambda.json")
    const program = `import { handler } from "./lambda.js"
      const record = (body) => ({
        messageId: "id of " + body, receiptHandle: body, body, md5OfBody: "", attributes: {}, messageAttributes: {},
        eventSource: "aws:sqs", eventSourceARN: "arn:aws:sqs:us-east-1:000000000000:orders", awsRegion: "us-east-1"
      })
      const Records = ["good", "bad"].map(record)
      console.log(JSON.stringify(await handler({ Records }, { getRemainingTimeInMillis: () => 5000 })))`
    const output = await run(bare, process.execPath, "--input-type=module", "--eval", program)
    // It logs the failure, beside what the program prints.
    expect(output.trim().split("\n").at(-1)).toBe('{"batchItemFailures":[{"itemIdentifier":"id of bad"}]}')
  })

  // Of a module that is taken from a package's index a bundler may keep all; of one that is taken by its path, what is used.
  const byIndex =
    /(emulator|cloudwatch|testing|internal\/(send|advise))\/|\/(sendBack|ensure|guard|Diagnosis|Scaling)\./
  const byPath =
    /\/(lambda\/|Served|Prioritized|sharedPermits|merge|routing|\w*(?<!process|\/)Stage|Health|Histogram|consumerFigures|groupFigures|spaceSaving)/
  it.each([
    [
      "index",
      'import { Pipeline } from "@millrace/core"; import { SqsClient, SqsConsumer } from "@millrace/sqs"',
      [byIndex],
      180
    ],
    [
      "path",
      `import * as Pipeline from "@millrace/core/Pipeline"
        import * as SqsClient from "@millrace/sqs/SqsClient"
        import * as SqsConsumer from "@millrace/sqs/SqsConsumer"`,
      [byIndex, byPath],
      130
    ]
  ])("bundles nothing that it does not use, imported by %s", async (_, imports, others, mostKiB) => {
    const { metafile } = await build({
      stdin: {
        contents: `${imports}
          console.log(SqsConsumer.stream, SqsClient.layer, Pipeline.process)`,
        resolveDir: bare
      },
      bundle: true,
      minify: true,
      format: "esm",
      platform: "node",
      metafile: true,
      write: false,
      logLevel: "silent"
    })
    const ours = Object.values(metafile.outputs)
      .flatMap(({ inputs }) => Object.entries(inputs))
      .filter(([path, { bytesInOutput }]) => /@millrace\//.test(path) && bytesInOutput > 0)
    const used = ours.map(([path]) => path.replace(/.*@millrace/, ""))
    expect(used).toContain("/sqs/dist/SqsLeaseQueue.js")
    expect(used.filter((path) => others.some((other) => other.test(path)))).toEqual([])
    // Somewhat more than it is today, so that it does not grow unnoticed.
    expect(ours.reduce((sum, [, { bytesInOutput }]) => sum + bytesInOutput, 0) / 1024).toBeLessThan(mostKiB)
  })

  it.each([
    ["S3ObjectStore", "@aws-sdk/client-s3"],
    ["cloudwatch", "@aws-sdk/client-cloudwatch"]
  ])("is told by %s that it needs %s", async (path, peer) => {
    const program = `await import("@millrace/sqs/${path}").then(() => {}, ({ message }) => console.log(message))`
    expect(await run(bare, process.execPath, "--input-type=module", "--eval", program)).toContain(
      `Cannot find package '${peer}'`
    )
  })
})

described("a project with the tarballs", () => {
  it("type-checks, our declarations included", async () => {
    const output = await tool(consumer, tsc, "-p", ".").catch(String)
    // Other packages' declarations are not ours to judge.
    const ours = output.split("\n").filter((line) => /^(main\.ts|node_modules\/@millrace\/)/.test(line))
    expect(ours).toEqual([])
  })

  it("runs", async () => {
    await tool(consumer, tsc, "-p", ".", "--skipLibCheck")
    expect((await run(consumer, process.execPath, "main.js")).trim()).toBe("handled a, b, c")
  })

  it.runIf(long).each(["22", "24"])("runs under Node %s, where it can be had", async (version) => {
    const name = `node-${process.platform === "win32" ? "win" : process.platform}-${process.arch}`
    const folder = join(temporary, `node-${version}`)
    await mkdir(folder)
    await writeFile(join(folder, "package.json"), "{}")
    try {
      await run(folder, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", `${name}@${version}`)
    } catch {
      console.log(`npm has no ${name}@${version} here: the packages are not run under Node ${version}`)
      return
    }
    const binary = join(folder, "node_modules", name, "bin", process.platform === "win32" ? "node.exe" : "node")
    expect(await run(consumer, binary, "--version")).toMatch(new RegExp(`^v${version}\\.`))
    expect((await run(consumer, binary, "main.js")).trim()).toBe("handled a, b, c")
    const all = packages.map((each) => `await import("@millrace/${each}")`).join(";")
    await run(consumer, binary, "--input-type=module", "--eval", all)
  })

  it("finds the types of all paths by the older resolution of Node's modules too", async () => {
    const paths = [
      "core/Pipeline",
      "core/testing",
      "sqs",
      "sqs/SqsConsumer",
      "sqs/emulator",
      "sqs/lambda",
      "dashboard/Dashboard"
    ]
    const lines = paths.map((path, i) => `import * as m${i} from "@millrace/${path}"\nconsole.log(m${i})`)
    await writeFile(join(consumer, "older.ts"), lines.join("\n"))
    const compilerOptions = {
      module: "ES2022",
      moduleResolution: "node10",
      ignoreDeprecations: "6.0",
      target: "ES2022",
      skipLibCheck: true,
      noEmit: true
    }
    await writeFile(join(consumer, "tsconfig.older.json"), JSON.stringify({ compilerOptions, files: ["older.ts"] }))
    const output = await tool(consumer, tsc, "-p", "tsconfig.older.json").catch(String)
    expect(output.split("\n").filter((line) => line.startsWith("older.ts"))).toEqual([])
  })

  it("type-checks and runs the example of the README", async () => {
    const [, example = ""] = /```ts\n([\s\S]*?)```/.exec(await readFile(join(root, "README.md"), "utf8")) ?? []
    await writeFile(join(consumer, "readme.ts"), example)
    await writeFile(
      join(consumer, "tsconfig.readme.json"),
      JSON.stringify({ extends: "./tsconfig.json", compilerOptions: { skipLibCheck: true }, files: ["readme.ts"] })
    )
    await tool(consumer, tsc, "-p", "tsconfig.readme.json")
    const lines = (await run(consumer, process.execPath, "readme.js")).trim().split("\n")
    expect(lines.sort()).toEqual(["sprocket shipped", "widget shipped"])
  })

  it("serves the dashboard's page, and every file that it asks for", async () => {
    const program = `import { Dashboard } from "@millrace/dashboard"
      import { Effect } from "effect"
      const names = (text) => [...text.matchAll(/(?:src|href|from)=?\\s*"\\.?(\\/[\\w.]+)"/g)].map(([, name]) => name)
      await Effect.runPromise(Effect.scoped(Effect.gen(function* () {
        const { url } = yield* Dashboard.make({ port: 0, consumers: Effect.succeed({}) })
        yield* Effect.promise(async () => {
          const asked = new Set(["/"])
          for (const path of asked) {
            const answer = await fetch(url + path)
            console.log(path, answer.status)
            for (const name of names(await answer.text())) asked.add(name)
          }
        })
      })))`
    const output = await run(consumer, process.execPath, "--input-type=module", "--eval", program)
    // It logs where it is, beside what the program prints.
    const lines = output.split("\n").filter((line) => line.startsWith("/"))
    const files = ["charts.js", "format.js", "icon.svg", "main.js", "style.css", "uplot.css", "uplot.js"]
    expect(lines.sort()).toEqual(["/ 200", ...files.map((file) => `/${file} 200`)])
  })

  it("runs the emulator by its one command", async () => {
    // A package with one bin is run by its own name: npx @millrace/sqs emulator.
    expect(await run(consumer, "npm", "exec", "--no", "--", "@millrace/sqs", "--help")).toContain(
      "millrace-sqs emulator"
    )

    const bin = join(consumer, "node_modules/@millrace/sqs/dist/bin.js")
    const queue = "orders,VisibilityTimeout=60,deadLetter=dlq,maxReceiveCount=5"
    const emulator = spawn(process.execPath, [bin, "emulator", "--port", "0", "--queue", queue], {
      cwd: consumer,
      env
    })
    const exit = once(emulator, "exit")
    try {
      const [line] = await Promise.race([once(createInterface(emulator.stdout), "line"), exit.then(() => [""])])
      const [endpoint] = /http:\/\/[\d.]+:\d+/.exec(line) ?? []
      const call = (operation: string, body: object) =>
        fetch(endpoint ?? `no endpoint in: ${line}`, {
          method: "POST",
          headers: { "content-type": "application/x-amz-json-1.0", "x-amz-target": `AmazonSQS.${operation}` },
          body: JSON.stringify(body)
        })
      const urls = ["dlq", "orders"].map((name) => `${endpoint}/000000000000/${name}`)
      expect(await (await call("ListQueues", {})).json()).toEqual({ QueueUrls: urls })
      // It ends at once, long polls or not.
      const poll = call("ReceiveMessage", { QueueUrl: "orders", WaitTimeSeconds: 20 }).then(
        () => "answered",
        () => "ended"
      )
      await call("GetQueueUrl", { QueueName: "orders" })
      const told = performance.now()
      emulator.kill("SIGTERM")
      expect(await exit).toEqual([0, null])
      expect(performance.now() - told).toBeLessThan(1_000)
      expect(await poll).toBe("ended")
    } finally {
      emulator.kill("SIGKILL")
      await exit
    }
  })

  const sources = async () => {
    const config = {
      extends: join(root, "tsconfig.base.json"),
      compilerOptions: { composite: false, noEmit: true, declaration: false, declarationMap: false },
      include: ["node_modules/@millrace/*/src"],
      exclude: []
    }
    await mkdir(join(consumer, "node_modules/@types"), { recursive: true })
    await cp(join(root, "node_modules/@types/node"), join(consumer, "node_modules/@types/node"), { recursive: true })
    await cp(join(root, "node_modules/undici-types"), join(consumer, "node_modules/undici-types"), { recursive: true })
    await writeFile(join(consumer, "tsconfig.sources.json"), JSON.stringify(config))
    await tool(consumer, tsc, "-p", "tsconfig.sources.json")
  }
  if (lowestPeers) it("compiles our sources against those peers", sources)
})
