/** The emulator over HTTP, and clients that are not ours, of both protocols, called all in the same way. */
import { spawn } from "node:child_process"
import { accessSync, constants, realpathSync } from "node:fs"
import { delimiter, join } from "node:path"
import * as Today from "@aws-sdk/client-sqs"
import { SqsEmulator, SqsHttp } from "@millrace/sqs/emulator"
import V2 from "aws-sdk/clients/sqs.js"
import * as Query398 from "client-sqs-query"
import { Effect, Layer } from "effect"

export interface Client {
  readonly name: string
  readonly protocol: "JSON" | "Query"
  // biome-ignore lint/suspicious/noExplicitAny: a test reads of the answer what it likes
  readonly call: (operation: string, input?: object) => Promise<any>
  readonly close: () => void
}

const common = {
  region: "us-east-1",
  credentials: { accessKeyId: "any", secretAccessKey: "any" }
}

/** A client of AWS's third SDK, whose commands are classes of its module. */
const third = (
  name: string,
  protocol: Client["protocol"],
  commands: object,
  client: { readonly send: CallableFunction; destroy(): void }
): Client => ({
  name,
  protocol,
  call: (operation, input = {}) => {
    const command = new (Reflect.get(commands, `${operation}Command`))(input)
    return Reflect.apply(client.send, client, [command])
  },
  close: () => client.destroy()
})

const second = (endpoint: string): Client => {
  const sqs = new V2({ ...common, endpoint, maxRetries: 0 })
  return {
    name: "aws-sdk@2.1490",
    protocol: "Query",
    call: (operation, input = {}) =>
      sqs.makeRequest(operation.charAt(0).toLowerCase() + operation.slice(1), { ...input }).promise(),
    close: () => {}
  }
}

/** By name, as tests list them. */
export const clients = {
  "@aws-sdk/client-sqs": (endpoint: string) =>
    third("@aws-sdk/client-sqs", "JSON", Today, new Today.SQSClient({ ...common, endpoint, maxAttempts: 1 })),
  "@aws-sdk/client-sqs@3.398": (endpoint: string) =>
    third(
      "@aws-sdk/client-sqs@3.398",
      "Query",
      Query398,
      new Query398.SQSClient({ ...common, endpoint, maxAttempts: 1 })
    ),
  "aws-sdk@2.1490": second
}

/** How each client tells an error. */
export const refusal = (call: Promise<unknown>) =>
  call.then(
    () => "no error",
    (thrown) => ({
      code: thrown.code ?? thrown.Code ?? thrown.name,
      // Of some errors 3.398 has the words only in what it has parsed.
      message: thrown.Error?.message ?? thrown.message,
      status: thrown.statusCode ?? thrown.$metadata?.httpStatusCode,
      requestId: thrown.requestId ?? thrown.$metadata?.requestId
    })
  )

export const served = (options: SqsEmulator.Options = {}, http: SqsHttp.Options = {}) =>
  SqsHttp.layer({ port: 0, ...http }).pipe(Layer.provideMerge(SqsEmulator.layer(options)))

/** The emulator with these queues, and a client of it. */
export const by = (
  make: (endpoint: string) => Client,
  queues: Readonly<Record<string, SqsEmulator.QueueOptions>>,
  run: (client: Client, url: (queue: string) => string, sqs: SqsEmulator.Service) => Promise<unknown>
) =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    const { endpoint } = yield* SqsHttp.SqsHttp
    const client = yield* Effect.acquireRelease(
      Effect.sync(() => make(endpoint)),
      (client) => Effect.sync(client.close)
    )
    yield* Effect.promise(() => run(client, (queue) => `${endpoint}/000000000000/${queue}`, sqs))
  }).pipe(Effect.scoped, Effect.provide(served({ queues })))

/** Until so many polls wait at the emulator: requests and their ends travel for real, so the event loop has its turns. */
export const whenWaiting = (sqs: SqsEmulator.Service, polls = 1) =>
  Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve))).pipe(
    Effect.zipRight(sqs.snapshot("q")),
    Effect.repeat({ until: ({ waiting }) => waiting === polls })
  )

/** Every AWS CLI on the PATH. */
export const commandLines: ReadonlySet<string> = new Set(
  (process.env["PATH"] ?? "").split(delimiter).flatMap((folder) => {
    const file = join(folder, "aws")
    try {
      accessSync(file, constants.X_OK)
      return [realpathSync(file)]
    } catch {
      return []
    }
  })
)

/** What the CLI prints, as JSON. */
export const aws = (file: string, endpoint: string, ...args: ReadonlyArray<string>) =>
  new Promise<{ readonly code: number | null; readonly json: unknown; readonly stderr: string }>((resolve, reject) => {
    const child = spawn(file, ["--endpoint-url", endpoint, "--output", "json", "sqs", ...args], {
      env: {
        PATH: process.env["PATH"],
        HOME: "/nonexistent",
        AWS_ACCESS_KEY_ID: "any",
        AWS_SECRET_ACCESS_KEY: "any",
        AWS_DEFAULT_REGION: "us-east-1",
        AWS_PAGER: ""
      }
    })
    let stdout = ""
    let stderr = ""
    child.stdout.on("data", (chunk) => {
      stdout += chunk
    })
    child.stderr.on("data", (chunk) => {
      stderr += chunk
    })
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, json: stdout === "" ? undefined : JSON.parse(stdout), stderr }))
  })
