/** A consumer that is started and stopped by promises: whatever its pipeline is. */
import { EventEmitter } from "node:events"
import type { Delivery } from "@millrace/core/Delivery"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Reason from "@millrace/core/Reason"
import type * as Served from "@millrace/core/Served"
import type * as Tunable from "@millrace/core/Tunable"
import type { SqsClient } from "@millrace/sqs/SqsClient"
import * as SqsConsumer from "@millrace/sqs/SqsConsumer"
import type { SqsError } from "@millrace/sqs/SqsError"
import * as Ctx from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Consumer } from "../consumer.js"
import { MillraceError } from "../errors.js"
import type { ConnectionOptions, Events, Health, Stats, StopReport, Time, Tuning } from "../types.js"
import { type Connection, connect } from "./connection.js"
import { tuneChecks } from "./options.js"
import { check, plainError, run, runSync } from "./plain.js"

class Running extends Ctx.Tag("@millrace/promise/Running")<Running, Served.Served>() {}

/** What listeners throw, or reject with, is a line of the log: neither other listeners nor the consumer hear of it. */
export class Emitter {
  readonly events = new EventEmitter<Events>()
  #fork: ((effect: Effect.Effect<void>) => unknown) | undefined

  /** `fork` may be used after the consumer has stopped too. */
  logBy(fork: (effect: Effect.Effect<void>) => unknown): void {
    this.#fork = fork
  }

  hears(name: keyof Events): boolean {
    return this.events.listenerCount(name) > 0
  }

  emit<Name extends keyof Events>(name: Name, ...values: Events[Name]): void {
    const log = (thrown: unknown) => {
      this.#fork?.(Effect.logError(`a listener of ${name} threw: ${Reason.of(thrown)}`))
    }
    for (const listener of this.events.rawListeners(name)) {
      try {
        const answer: unknown = Reflect.apply(listener, this.events, values)
        if (answer instanceof Promise) answer.then(undefined, log)
      } catch (thrown) {
        log(thrown)
      }
    }
  }
}

export interface Host {
  readonly queue: string
  readonly connection: ConnectionOptions
  readonly options: NonNullable<Parameters<typeof SqsConsumer.layer>[3]>
  /** What its log begins with. */
  readonly warnings: Effect.Effect<void>
  readonly emitter: Emitter
  /** Its stage's slots. */
  readonly concurrency: Tunable.Tunable
  readonly pipeline: (
    deliveries: Stream.Stream<Delivery<string>, SqsError>
  ) => Stream.Stream<unknown, unknown, SqsClient>
}

const none: Stats = {
  received: 0,
  redelivered: 0,
  handled: 0,
  failed: 0,
  acked: 0,
  retried: 0,
  released: 0,
  deadLettered: 0,
  left: 0,
  lost: 0,
  polls: 0,
  emptyPolls: 0,
  receiveErrors: 0,
  settleErrors: 0,
  inFlight: 0,
  maxInFlight: 0
}

interface StopOptions {
  readonly timeout?: Time | undefined
}

const stopChecks: InvalidOptions.Checks<StopOptions> = { timeout: InvalidOptions.time() }

interface Started {
  readonly connection: Connection
  readonly scope: Scope.CloseableScope
  readonly served: Served.Served
}

export class HostedConsumer implements Consumer {
  readonly #host: Host
  #starting: Promise<Started> | undefined
  #stopping: Promise<StopReport> | undefined
  #started: Started | undefined
  #failed: Error | undefined
  #tellStopped: () => void = () => {}
  /** For who waits since before the stop. */
  readonly #stopped = new Promise<void>((resolve) => {
    this.#tellStopped = resolve
  })

  constructor(host: Host) {
    this.#host = host
  }

  get events() {
    return this.#host.emitter.events
  }

  readonly start = async (): Promise<void> => {
    if (this.#stopping !== undefined) throw new MillraceError("Stopped", "it was stopped; make another to start again")
    this.#starting ??= this.#start()
    await this.#starting
  }

  async #start(): Promise<Started> {
    const { emitter, options, pipeline, queue, warnings } = this.#host
    const connection = connect(this.#host.connection)
    const scope = Effect.runSync(Scope.make())
    try {
      emitter.logBy(Runtime.runFork(await run(connection, Effect.zipRight(warnings, Effect.runtime()))))
      const layer = SqsConsumer.layer(Running, queue, pipeline, options)
      const served = await run(connection, Effect.map(Layer.buildWithScope(layer, scope), Ctx.get(Running)))
      const started = { connection, scope, served }
      this.#started = started
      connection.runFork(served.failure).addObserver((exit) => {
        if (Exit.isSuccess(exit) || exit.cause._tag !== "Fail") return
        this.#failed = plainError(exit.cause.error)
        emitter.emit("error", this.#failed)
      })
      emitter.emit("started")
      connection.runFork(served.ended).addObserver((exit) => {
        if (Exit.isSuccess(exit)) this.stop().catch((error) => emitter.emit("error", plainError(error)))
      })
      return started
    } catch (error) {
      this.#starting = undefined
      await Effect.runPromise(Scope.close(scope, Exit.void))
      await connection.dispose()
      throw error
    }
  }

  readonly stop = async (options: StopOptions = {}): Promise<StopReport> => {
    check("stop", options, stopChecks)
    this.#stopping ??= this.#stop(options.timeout).finally(() => this.#tellStopped())
    return this.#stopping
  }

  async #stop(timeout: Time | undefined): Promise<StopReport> {
    const started = await this.#starting?.catch(() => undefined)
    if (started === undefined) return { finished: 0, released: 0, lost: 0, stranded: 0 }
    const { connection, scope, served } = started
    const report = await run(connection, served.drain(timeout === undefined ? undefined : { deadline: timeout }))
    await run(connection, Scope.close(scope, Exit.void))
    this.#host.emitter.emit("stopped", report)
    await connection.dispose()
    return report
  }

  #use<A>(use: (served: Served.Served) => Effect.Effect<A, unknown>): void {
    if (this.#started === undefined) throw new MillraceError("NotStarted", "call start() and await it first")
    runSync(use(this.#started.served))
  }

  readonly ended = async (): Promise<void> => {
    if (this.#stopping === undefined) await this.start()
    try {
      if (this.#stopping === undefined && this.#started !== undefined) {
        const { connection, served } = this.#started
        // A pipeline that a stop has let go never ends.
        await Promise.race([run(connection, served.ended), this.#stopped])
      }
    } finally {
      await this.stop()
    }
    if (this.#failed !== undefined) throw this.#failed
  }

  readonly pause = (): void => {
    this.#use(({ pause }) => pause)
    this.#host.emitter.emit("paused")
  }

  readonly resume = (): void => {
    this.#use(({ resume }) => resume)
    this.#host.emitter.emit("resumed")
  }

  readonly tune = (to: Tuning): void => {
    check("tune", to, tuneChecks)
    const { concurrency } = this.#host
    this.#use(({ maxInFlight, rate }) =>
      Effect.gen(function* () {
        if (to.maxInFlight !== undefined) yield* maxInFlight.set(to.maxInFlight)
        if (to.perSecond !== undefined) yield* rate.set(to.perSecond)
        if (to.concurrency !== undefined) yield* concurrency.set(to.concurrency)
      })
    )
  }

  readonly stats = (): Stats => (this.#started === undefined ? none : runSync(this.#started.served.stats))

  readonly health = (): Health => {
    if (this.#started === undefined) {
      return { healthy: false, problems: ["it is not started"], inFlight: 0, running: 0, paused: false }
    }
    const { healthy, inFlight, paused, problems, running } = runSync(this.#started.served.health())
    return { healthy, problems, inFlight, running, paused }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}
