import type { Delivery, InvalidOptions, LeaseQueue } from "@millrace/core"
import { type MemoryQueue, Simulation } from "@millrace/core/testing"
import { Clock, Duration, Effect, Logger, Random, type Scope, type Stream } from "effect"

/**
 * A test's body: runs the program in virtual time with a few seeds, so with a few orders in which fibers take turns. A
 * program that leaves a fiber behind fails, and so does one that takes more than a day.
 */
export const simulated =
  <E>(
    program: Effect.Effect<unknown, E, Scope.Scope> | ((seed: number) => Effect.Effect<unknown, E, Scope.Scope>),
    options: Simulation.CheckOptions = {}
  ) =>
  () =>
    Simulation.checkInTurns({ seeds: 3, leaks: "fail", maxElapsed: "1 day", ...options }, program)

/**
 * Takes the turn from a fiber again and again, after a handful of operations, so that anything may happen in between:
 * Effect may do so anywhere, though it rarely does.
 */
export const jostled = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(Random.nextIntBetween(0, 1000), (seed) =>
    Effect.withFiberRuntime((fiber) => {
      const scheduler = fiber.currentScheduler
      // To lose its turn costs a fiber ten operations.
      let turn = seed
      return Effect.withScheduler(effect, {
        shouldYield: ({ currentOpCount }) => (currentOpCount > 10 + (turn % 16) ? 0 : false),
        scheduleTask: (task, priority) => {
          turn = (turn * 421 + 1663) % 7875
          scheduler.scheduleTask(task, priority)
        }
      })
    })
  )

/** One call to the port, as it was sent. */
export type Call =
  | {
      readonly operation: "receive"
      readonly at: number
      readonly max: number
      readonly attemptId: string | undefined
      readonly wait: number
      /** How many receives were open, this one included. */
      readonly open: number
      /** Once it is answered. */
      answered: { readonly at: number; readonly count: number } | undefined
    }
  | { readonly operation: "ack"; readonly at: number; readonly ids: ReadonlyArray<string> }
  | {
      readonly operation: "setLease"
      readonly at: number
      readonly entries: ReadonlyArray<{ readonly id: string; readonly millis: number }>
    }
  | { readonly operation: "deadLetter"; readonly at: number; readonly ids: ReadonlyArray<string> }

type Sent<Operation extends Call["operation"]> = Extract<Call, { readonly operation: Operation }>

export interface Calls {
  readonly all: ReadonlyArray<Call>
  readonly of: <Operation extends Call["operation"]>(operation: Operation) => ReadonlyArray<Sent<Operation>>
}

/** The queue, and a list of the calls that it is sent. */
export const recorded = <E, Q extends LeaseQueue.LeaseQueue<E>>(
  queue: Q & LeaseQueue.LeaseQueue<E>
): { readonly queue: LeaseQueue.LeaseQueue<E>; readonly calls: Calls } => {
  const all: Array<Call> = []
  let open = 0
  const now = Effect.clockWith((clock) => clock.currentTimeMillis)
  const { deadLetter } = queue
  return {
    calls: {
      all,
      of: <Operation extends Call["operation"]>(operation: Operation) =>
        all.filter((call): call is Sent<Operation> => call.operation === operation)
    },
    queue: {
      ...queue,
      receive: (request) =>
        Effect.flatMap(now, (at) => {
          const { attemptId, max, wait } = request
          const call: Call = {
            operation: "receive",
            at,
            max,
            attemptId,
            wait: Duration.toMillis(wait),
            open: ++open,
            answered: undefined
          }
          all.push(call)
          return queue.receive(request).pipe(
            Effect.tap((messages) =>
              Effect.map(now, (then) => {
                call.answered = { at: then, count: messages.length }
              })
            ),
            Effect.ensuring(
              Effect.sync(() => {
                open--
              })
            )
          )
        }),
      ack: (leases) =>
        Effect.flatMap(now, (at) => {
          all.push({ operation: "ack", at, ids: leases.map(({ messageId }) => messageId) })
          return queue.ack(leases)
        }),
      setLease: (entries) =>
        Effect.flatMap(now, (at) => {
          all.push({
            operation: "setLease",
            at,
            entries: entries.map(({ duration, lease }) => ({
              id: lease.messageId,
              millis: Duration.toMillis(duration)
            }))
          })
          return queue.setLease(entries)
        }),
      deadLetter:
        deadLetter &&
        ((entries) =>
          Effect.flatMap(now, (at) => {
            all.push({ operation: "deadLetter", at, ids: entries.map(({ message }) => message.id) })
            return deadLetter(entries)
          }))
    }
  }
}

/** A queue that cannot end a wait: once a receive is on the wire it takes no notice of the stop, as SQS does not. */
export const deaf = <E>(queue: LeaseQueue.LeaseQueue<E>): LeaseQueue.LeaseQueue<E> => ({
  ...queue,
  receive: ({ attemptId, max, wait }) => queue.receive({ attemptId, max, wait })
})

/** The stream of a consumer of a queue in memory, and what can be made of it. */
export type Source = Stream.Stream<
  Delivery.Delivery<string>,
  MemoryQueue.MemoryQueueError | InvalidOptions.InvalidOptions
>
export type Stage<A = unknown> = (self: Source) => Stream.Stream<A, unknown>

export interface Line {
  readonly level: string
  readonly text: string
  readonly annotations: Readonly<Record<string, unknown>>
}

/** Keeps what is logged. */
export const logged = (lines: Array<Line>) =>
  Logger.replace(
    Logger.defaultLogger,
    Logger.make(({ annotations, logLevel, message }) => {
      lines.push({
        level: logLevel.label,
        text: (Array.isArray(message) ? message : [message]).map(String).join(" "),
        annotations: Object.fromEntries(annotations)
      })
    })
  )

/** Bodies "0", "1", ... */
export const numbered = (n: number, from = 0): ReadonlyArray<string> =>
  Array.from({ length: n }, (_, i) => String(from + i))

/** Messages of groups: `grouped("a1", "b1")` sends "a1" in group "a". */
export const grouped = (...bodies: ReadonlyArray<string>) => bodies.map((body) => ({ body, group: body.charAt(0) }))

/** A clock that goes on while `works` holds the thread, and no timer with it. */
export const heldClock = Effect.map(Effect.clock, (clock) => {
  let worked = 0
  const held: Clock.Clock = {
    ...clock,
    [Clock.ClockTypeId]: clock[Clock.ClockTypeId],
    sleep: (duration) => clock.sleep(duration),
    unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis() + worked,
    unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos() + BigInt(worked) * 1_000_000n
  }
  const works = (millis: number): void => {
    worked += millis
  }
  return { clock: held, works }
})

/** A message as a queue gives it that knows nothing but its id. */
export const plainMessage = (id: string): LeaseQueue.Message => ({
  id,
  body: id,
  lease: { messageId: id, handle: id },
  attributes: {},
  attempt: 1,
  group: undefined,
  sequence: undefined,
  sentAt: undefined,
  firstReceivedAt: undefined,
  system: {}
})
