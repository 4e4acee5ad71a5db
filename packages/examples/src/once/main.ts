/**
 * `npm run once`: transfers between accounts, sent through the outbox and booked through the inbox, while the producer,
 * the relay and the consumer are killed again and again. In the end each transfer is booked once, and none is missing.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { connect } from "node:net"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { NodeRuntime } from "@effect/platform-node"
import * as Client from "@effect/sql/SqlClient"
import { PgClient } from "@effect/sql-pg"
import { PGlite } from "@electric-sql/pglite"
import { PGLiteSocketServer } from "@electric-sql/pglite-socket"
import { SqlMigrations } from "@millrace/sql"
import { SqsEmulator, SqsHttp } from "@millrace/sqs/emulator"
import { Clock, ConfigProvider, Console, Duration, Effect, Layer, Random, Redacted } from "effect"
import { BadArguments, exitWith, teardown } from "../Cli.js"
import * as Bank from "./Bank.js"

const usage = `npm run once -- [options]

  --transfers <n>   how many (10000)
  --kills <n>       how many processes are killed, at least (30)
  --short           1,000 transfers and 9 kills, as in CI
  --pglite          PostgreSQL as WebAssembly, though there is a server`

const isOpen = Effect.async<boolean>((resume) => {
  const socket = connect({ host: "127.0.0.1", port: 5432 })
  const end = (is: boolean) => {
    socket.destroy()
    resume(Effect.succeed(is))
  }
  socket.once("connect", () => end(true))
  socket.once("error", () => end(false))
})

interface Server {
  readonly name: string
  readonly url: string
  /** For each process. */
  readonly connections: number
}

/** A database of its own on the machine's server. */
const postgres = Effect.gen(function* () {
  const admin = PgClient.layer({ url: Redacted.make("postgres://postgres@127.0.0.1:5432/postgres") })
  const name = `millrace_once_${process.pid}`
  const run = (text: string) => Effect.flatMap(Client.SqlClient, (sql) => sql.unsafe(text)).pipe(Effect.provide(admin))
  yield* Effect.acquireRelease(run(`CREATE DATABASE ${name}`), () =>
    Effect.ignore(run(`DROP DATABASE ${name} WITH (FORCE)`))
  )
  return { name: "PostgreSQL", url: `postgres://postgres@127.0.0.1:5432/${name}`, connections: 10 }
})

const pglite = Effect.gen(function* () {
  const db = yield* Effect.acquireRelease(
    Effect.promise(() => PGlite.create()),
    (made) => Effect.promise(() => made.close())
  )
  const server = yield* Effect.acquireRelease(
    Effect.promise(async () => {
      const made = new PGLiteSocketServer({ db, port: 0, host: "127.0.0.1", maxConnections: 20 })
      await made.start()
      return made
    }),
    (made) => Effect.promise(() => made.stop())
  )
  const port = server.getServerConn().split(":").at(-1)
  return { name: "PGlite", url: `postgres://postgres:postgres@127.0.0.1:${port}/postgres`, connections: 1 }
})

/** A process that is started again as often as it is killed. */
class Respawned {
  readonly #role: Bank.Role
  readonly #env: NodeJS.ProcessEnv
  readonly #transfers: number
  #child: ChildProcess | undefined
  over = false
  kills = 0

  constructor(role: Bank.Role, env: NodeJS.ProcessEnv, transfers: number) {
    this.#role = role
    this.#env = env
    this.#transfers = transfers
    this.start()
  }

  start(): void {
    const child = spawn(
      process.execPath,
      [fileURLToPath(import.meta.url), "--role", this.#role, "--transfers", String(this.#transfers)],
      { env: this.#env, stdio: ["ignore", "ignore", "ignore"] }
    )
    this.#child = child
    child.once("exit", () => {
      if (!this.over) this.start()
    })
  }

  kill(): void {
    this.kills++
    this.#child?.kill("SIGKILL")
  }

  end(): void {
    this.over = true
    this.#child?.kill("SIGKILL")
  }
}

const prove = (server: Server, transfers: number, kills: number) =>
  Effect.gen(function* () {
    const { endpoint } = yield* SqsHttp.SqsHttp
    const env = {
      ...process.env,
      ONCE_DATABASE: server.url,
      ONCE_CONNECTIONS: String(server.connections),
      AWS_ENDPOINT_URL_SQS: endpoint,
      AWS_REGION: "us-east-1",
      AWS_ACCESS_KEY_ID: "any",
      AWS_SECRET_ACCESS_KEY: "any",
      NODE_NO_WARNINGS: "1"
    }
    const database = Layer.provide(Bank.database, Layer.setConfigProvider(ConfigProvider.fromJson(env)))
    yield* Effect.provide(Effect.zipRight(SqlMigrations.run(), Bank.open), database)
    yield* Console.log(
      `${transfers} transfers between ${Bank.accounts} accounts on ${server.name}; at least ${kills} kills by SIGKILL`
    )
    const startedAt = yield* Clock.currentTimeMillis
    const processes = yield* Effect.acquireRelease(
      Effect.sync(() => Bank.roles.map((role) => new Respawned(role, env, transfers))),
      (all) => Effect.sync(() => all.forEach((each) => each.end()))
    )
    const killed = () => processes.reduce((sum, each) => sum + each.kills, 0)
    const look = Effect.provide(Bank.audit(transfers), database).pipe(Effect.retry({ times: 5 }))
    let books = yield* look
    let told = 0
    // Each process has a while to get something done between its deaths.
    while (killed() < kills || (books.missing > 0 && (yield* Clock.currentTimeMillis) - startedAt < 900_000)) {
      yield* Effect.sleep(Duration.millis(yield* Random.nextIntBetween(500, 1500)))
      if (killed() < kills) processes[yield* Random.nextIntBetween(0, processes.length)]?.kill()
      books = yield* look
      const done = Math.floor((10 * books.booked) / transfers)
      if (done > told) yield* Console.log(`${books.booked} booked, ${killed()} kills`)
      told = Math.max(told, done)
    }
    // What may still be on its way would book twice now.
    yield* Effect.sleep("7 seconds")
    books = yield* look
    const each = processes.map(({ kills: n }, i) => `${Bank.roles[i]} ${n}`).join(", ")
    const seconds = Math.round(((yield* Clock.currentTimeMillis) - startedAt) / 1000)
    yield* Console.log(
      `${killed()} kills (${each}) in ${seconds} s\n` +
        `booked once: ${books.booked}, twice: ${books.twice}, missing: ${books.missing}; sum of all accounts: ${books.sum} of ${Bank.accounts * Bank.opening}; rows left in the outbox: ${books.left}\n` +
        (books.right ? "Each transfer is booked exactly once." : "The books are wrong.")
    )
    return books.right ? 0 : 1
  })

const program = Effect.gen(function* () {
  const { values } = yield* Effect.try({
    try: () =>
      parseArgs({
        options: {
          transfers: { type: "string" },
          kills: { type: "string" },
          role: { type: "string" },
          short: { type: "boolean" },
          pglite: { type: "boolean" }
        }
      }),
    catch: (error) => new BadArguments({ message: error instanceof Error ? error.message : String(error) })
  })
  const transfers = Number(values.transfers ?? (values.short ? 1000 : 10_000))
  const kills = Number(values.kills ?? (values.short ? 9 : 30))
  if (!Number.isInteger(transfers) || transfers < 1 || !Number.isInteger(kills) || kills < 0) {
    return yield* new BadArguments({ message: "--transfers and --kills are whole numbers" })
  }
  const role = Bank.roles.find((each) => each === values.role)
  if (role !== undefined) return yield* Effect.as(Bank.run(role, transfers), 0)
  const found = values.pglite !== true && (yield* isOpen)
  if (!found && values.pglite !== true) yield* Console.log("No PostgreSQL on 127.0.0.1:5432: PGlite takes its place.")
  const server = yield* found ? postgres : pglite
  const emulator = SqsHttp.layer().pipe(
    Layer.provideMerge(SqsEmulator.layer({ queues: { [Bank.queue]: { visibilityTimeout: "5 seconds" } } }))
  )
  return yield* Effect.provide(prove(server, transfers, kills), emulator)
})

NodeRuntime.runMain(exitWith(Effect.scoped(program), usage), { teardown })
