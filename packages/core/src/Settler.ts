/**
 * Settles deliveries in as few calls as it can: acks, changes of a lease and dead letters are each gathered into calls
 * of at most `limits.batchSize` entries, by size or a short linger, and every entry has its own result. Entries that
 * failed are tried again alone, while their lease lives.
 */
import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as LeaseQueue from "./LeaseQueue.js"

export interface Options {
  /** How long an entry may wait for others to share its call. Default 250 milliseconds. */
  readonly linger?: Duration.DurationInput | undefined
  /** When to try failed entries again. Default: exponential from 100 milliseconds to 5 seconds, jittered. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /** Calls under way at once. Default 16. */
  readonly concurrency?: number | undefined
}

/** What is asked of the queue for one lease. */
export type Request =
  | { readonly _tag: "Ack" }
  | { readonly _tag: "SetLease"; readonly duration: Duration.Duration }
  | {
      readonly _tag: "DeadLetter"
      readonly reason: string
      readonly error: string | undefined
      readonly attempt: number
    }

export interface Entry {
  readonly message: LeaseQueue.Message
  readonly request: Request
  /** When the lease ends, in milliseconds. */
  readonly deadline: () => number
  /** It has ended by other means: not to be tried again. */
  readonly over: () => boolean
  /** Called once: the queue confirmed it, or the lease was over first. */
  readonly onResult: (confirmed: boolean) => void
  /**
   * Called once in its place where the queue will never take it: it may not be asked, or has rejected this entry. Acks are
   * not given up so, but tried for as long as their lease lives. Default: as if the lease were over.
   */
  readonly onRefused?: (() => void) | undefined
  /** Somebody waits for the result: linger less. */
  readonly awaited: boolean
}

export interface Settler {
  /** Takes an entry; never waits. What is taken is bounded by the permits of those that hand it in. */
  readonly submit: (entry: Entry) => void
  /** Takes entries that the queue must see in this order: in calls of their own, one after another. */
  readonly submitInOrder: (entries: ReadonlyArray<Entry>) => void
  /** Sends what lingers now. */
  readonly flush: () => void
  /** Somebody waits for the permits of what lingers: it lingers as little as what somebody waits for. */
  readonly hurry: () => void
  /** Entries taken and without result. */
  readonly pending: () => number
  /** Nothing more will come: ends the timer where nothing lingers, and all fibers where all that is taken is over. */
  readonly quiesce: () => void
  /** Gives up what is without result, as lost, and ends all fibers. */
  readonly abandon: () => void
}

/** What it needs of the consumer that it works for. */
export interface Host<E> {
  readonly queue: LeaseQueue.LeaseQueue<E>
  readonly runFork: <A, E2>(effect: Effect.Effect<A, E2>) => Fiber.RuntimeFiber<A, E2>
  readonly now: () => number
  /** Entries expected each millisecond: where no other would come in time, waiting is no use. */
  readonly rate: () => number
  /** Whether anything else is in flight that could join the batch, and whether anything else could ever be. */
  readonly company: (pending: number) => "some" | "none yet" | "none"
  readonly onCall: () => void
  readonly onError: (error: E, operation: Request["_tag"]) => void
  readonly onSuccess: (operation: Request["_tag"]) => void
  /** All results of a call have been told. */
  readonly onResults: () => void
}

/** Somebody is waiting: long enough for handlers that end together, too short to be felt. */
const awaitedLinger = 5

export const defaultRetry = Schedule.exponential("100 millis").pipe(
  Schedule.union(Schedule.spaced("5 seconds")),
  Schedule.jittered
)

type Operation = Request["_tag"]

export const make = <E>(host: Host<E>, options: Options = {}): Settler => {
  const { now, queue, runFork } = host
  const linger = Duration.toMillis(options.linger ?? "250 millis")
  const shortLinger = Math.min(awaitedLinger, linger)
  const concurrency = options.concurrency ?? 16
  const schedule = options.retry ?? defaultRetry
  const { batchSize, ordered } = queue.limits

  const batches: Record<Operation, { entries: Array<Entry>; due: number }> = {
    Ack: { entries: [], due: Number.POSITIVE_INFINITY },
    SetLease: { entries: [], due: Number.POSITIVE_INFINITY },
    DeadLetter: { entries: [], due: Number.POSITIVE_INFINITY }
  }
  const operations: ReadonlyArray<Operation> = ["Ack", "SetLease", "DeadLetter"]
  const calls = new Set<Fiber.RuntimeFiber<void>>()
  /** Batches that have had no answer yet. Those that are tried again hold up nothing. */
  let unanswered = 0
  const unconfirmed = new Set<Entry>()
  let timer: { readonly at: number; readonly fiber: Fiber.RuntimeFiber<void> } | undefined

  const finish = (entry: Entry, confirmed: boolean) => {
    if (unconfirmed.delete(entry)) entry.onResult(confirmed)
  }

  const refuse = (entry: Entry) => {
    if (entry.onRefused === undefined) finish(entry, false)
    else if (unconfirmed.delete(entry)) entry.onRefused()
  }

  const call = (
    operation: Operation,
    entries: ReadonlyArray<Entry>
  ): Effect.Effect<ReadonlyArray<LeaseQueue.EntryResult>, E> => {
    host.onCall()
    switch (operation) {
      case "Ack":
        return queue.ack(entries.map((entry) => entry.message.lease))
      case "SetLease":
        return queue.setLease(
          entries.map(({ message, request }) => ({
            lease: message.lease,
            duration: request._tag === "SetLease" ? request.duration : Duration.zero
          }))
        )
      case "DeadLetter":
        return queue.deadLetter === undefined
          ? Effect.dieMessage(`${queue.name} has no dead letters`)
          : queue.deadLetter(
              entries.map(({ message, request }) =>
                request._tag === "DeadLetter"
                  ? { message, reason: request.reason, error: request.error, attempt: request.attempt }
                  : { message, reason: "" }
              )
            )
    }
  }

  // On a standard queue an ack may succeed after the lease (fact 14), so it is tried once more then; nothing else is.
  const worthAnotherTry = (entry: Entry, triedAt: number): boolean =>
    now() < entry.deadline() || (entry.request._tag === "Ack" && !ordered && triedAt < entry.deadline())

  const send = Effect.fnUntraced(function* (
    operation: Operation,
    entries: ReadonlyArray<Entry>,
    onAnswer: () => void = () => {}
  ) {
    let remaining = entries
    let driver: Schedule.ScheduleDriver<unknown> | undefined
    while (true) {
      const triedAt = now()
      const exit = yield* Effect.exit(call(operation, remaining))
      onAnswer()
      let failed: Array<Entry> = []
      if (Exit.isSuccess(exit)) {
        host.onSuccess(operation)
        remaining.forEach((entry, i) => {
          const result = exit.value[i]
          if (result === undefined) failed.push(entry)
          else if (Either.isRight(result)) finish(entry, true)
          else if (result.left.reason === "LeaseLost") finish(entry, false)
          else if (result.left.reason === "Rejected" && operation !== "Ack") refuse(entry)
          else failed.push(entry)
        })
        host.onResults()
      } else {
        failed = [...remaining]
        if (exit.cause._tag === "Fail") {
          host.onError(exit.cause.error, operation)
          // Only acks may be worth the wait: what is left to its lease comes again by itself.
          if (operation !== "Ack" && queue.errorKind(exit.cause.error) === "fatal") {
            for (const entry of failed.splice(0)) refuse(entry)
            host.onResults()
          }
        }
      }
      yield* Effect.logDebug(`${operation} of ${remaining.length} messages of ${queue.name}, ${failed.length} failed`)
      if (failed.length === 0) return
      driver ??= yield* Schedule.driver(schedule)
      // A schedule that ends still owes every entry a result: go on at its last pace.
      if (Option.isNone(yield* Effect.option(driver.next(undefined)))) yield* Effect.sleep("1 second")
      remaining = failed.filter((entry) => {
        const again = unconfirmed.has(entry) && !entry.over() && worthAnotherTry(entry, triedAt)
        if (!again) finish(entry, false)
        return again
      })
      if (remaining.length < failed.length) host.onResults()
      if (remaining.length === 0) return
    }
  })

  const dispatch = (operation: Operation) => {
    const batch = batches[operation]
    const entries = batch.entries.splice(0, batchSize)
    if (batch.entries.length === 0) batch.due = Number.POSITIVE_INFINITY
    unanswered++
    let answered = false
    const onAnswer = () => {
      if (answered) return
      answered = true
      unanswered--
      sendDue()
    }
    track(send(operation, entries, onAnswer), entries, onAnswer)
  }

  const track = (effect: Effect.Effect<void>, entries: ReadonlyArray<Entry>, onEnd: () => void = () => {}) => {
    const fiber = runFork(effect)
    calls.add(fiber)
    fiber.addObserver((exit) => {
      calls.delete(fiber)
      // A defect of the port must not hold its permits for ever.
      if (Exit.isFailure(exit)) {
        for (const entry of entries) finish(entry, false)
        host.onResults()
      }
      onEnd()
    })
  }

  const sendDue = () => {
    const time = now()
    for (const operation of operations) {
      const batch = batches[operation]
      while (
        unanswered < concurrency &&
        batch.entries.length > 0 &&
        (batch.entries.length >= batchSize || batch.due <= time)
      ) {
        dispatch(operation)
      }
    }
    arm()
  }

  const arm = () => {
    if (unanswered >= concurrency) return // the next answer looks again
    const due = Math.min(batches.Ack.due, batches.SetLease.due, batches.DeadLetter.due)
    if (due === Number.POSITIVE_INFINITY || (timer !== undefined && timer.at <= due)) return
    timer?.fiber.unsafeInterruptAsFork(FiberId.none)
    const wait = Math.ceil(due - now())
    const fiber = runFork(wait > 0 ? Effect.sleep(wait) : Effect.yieldNow())
    timer = { at: due, fiber }
    fiber.addObserver((exit) => {
      if (timer?.fiber !== fiber) return
      timer = undefined
      if (Exit.isSuccess(exit)) sendDue()
    })
  }

  const disarm = () => {
    timer?.fiber.unsafeInterruptAsFork(FiberId.none)
    timer = undefined
  }

  /** How long to wait for others, where there is reason to hope for any. */
  const patience = (awaited: boolean): number => {
    const company = host.company(unconfirmed.size)
    if (company === "none") return 0
    const longest = awaited ? shortLinger : linger
    if (host.rate() * longest >= 1) return longest
    return awaited || company === "none yet" ? 0 : linger
  }

  const flush = () => {
    for (const operation of operations) {
      if (batches[operation].entries.length > 0) batches[operation].due = Number.NEGATIVE_INFINITY
    }
    sendDue()
  }

  const abandon = () => {
    disarm()
    for (const fiber of calls) fiber.unsafeInterruptAsFork(FiberId.none)
    // Nothing is due any more: whose call ends now looks for what is.
    for (const operation of operations) batches[operation] = { entries: [], due: Number.POSITIVE_INFINITY }
    for (const entry of [...unconfirmed]) finish(entry, false)
  }

  return {
    submit: (entry) => {
      unconfirmed.add(entry)
      const batch = batches[entry.request._tag]
      batch.entries.push(entry)
      if (batch.entries.length >= batchSize) return sendDue()
      batch.due = Math.min(batch.due, now() + patience(entry.awaited))
      arm()
    },
    submitInOrder: (entries) => {
      const [first] = entries
      if (first === undefined) return
      for (const entry of entries) unconfirmed.add(entry)
      const calls = Effect.forEach(Arr.chunksOf(entries, batchSize), (batch) => send(first.request._tag, batch), {
        discard: true
      })
      track(calls, entries)
    },
    flush,
    hurry: () => {
      for (const operation of operations) {
        const batch = batches[operation]
        if (batch.entries.length > 0) batch.due = Math.min(batch.due, now() + shortLinger)
      }
      arm()
    },
    pending: () => unconfirmed.size,
    quiesce: () => {
      if (unconfirmed.size === 0) disarm()
      else if ([...unconfirmed].every((entry) => entry.over())) abandon()
    },
    abandon
  }
}
