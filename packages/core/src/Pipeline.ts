/**
 * The stages of a pipeline of deliveries: decode, map, filter, batch, process, settle. Each takes a stream of deliveries
 * and gives a stream, and composes with any other stream operator.
 *
 * A stage that runs or holds a delivery claims it first, and answers for it: when the stage ends early, what it claimed
 * and has not passed on is released.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Circuit from "./Circuit.js"
import {
  type DecodeError,
  type Delivery,
  HandlerDefect,
  HandlerTimeout,
  inFlight,
  map as mapDelivery,
  withBody
} from "./Delivery.js"
import * as InvalidOptions from "./InvalidOptions.js"
import { effectOf, policyOf, saysYes } from "./internal/foreign/answer.js"
import { attempt } from "./internal/foreign/attempt.js"
import { decodeStage } from "./internal/handOver/decodeStage.js"
import { type Custodian, type InFlight, Phase } from "./internal/lease/inFlight.js"
import { onLoop } from "./internal/observe/loopTime.js"
import { withBatchSpan, withSpan } from "./internal/observe/span.js"
import { type BatchAnswer, type Guard, guard, NotRun } from "./internal/once/guard.js"
import type { Once } from "./internal/once/terms.js"
import { type Batch, batchStage } from "./internal/run/batchStage.js"
import { Claims, dispatch, type Lanes, type RunFork, type Slot, type Options as Stage } from "./internal/run/stage.js"
import * as RetryPolicy from "./RetryPolicy.js"
import * as Settlement from "./Settlement.js"
import * as Tunable from "./Tunable.js"

type Deliveries<A, E, EX, RX> = Stream.Stream<Delivery<A, E>, EX, RX>

// ---------------------------------------------------------------------------------------------------------- decode

/**
 * Decodes bodies by a Schema. What does not decode, or makes the Schema throw, is not settled here: it flows on as a failed
 * delivery with a `DecodeError`, so that the stage that settles treats it in its turn. A body that its sender has encoded
 * (compressed), and that no stage before has changed, is opened first, as soon as `maxOpenedBytes` of the consumer allow.
 *
 * The error names up to five places that are wrong; of a body of more than 64 Ki characters only the first.
 */
export const decode =
  <B, I, R>(schema: Schema.Schema<B, I, R>) =>
  <A extends I, E, EX, RX>(self: Deliveries<A, E, EX, RX>): Deliveries<B, E | DecodeError, EX, RX | R> =>
    decodeStage(self, ParseResult.decodeUnknown(schema))

/**
 * Parses bodies as JSON and decodes them by a Schema. What is not JSON, or does not match, flows on as a failed
 * delivery with a `DecodeError`. Encoded bodies are opened first, as by `decode`.
 */
export const decodeJson = <B, I, R>(schema: Schema.Schema<B, I, R>) => {
  const decodeParsed = ParseResult.decodeUnknown(schema)
  return <E, EX, RX>(self: Deliveries<string, E, EX, RX>): Deliveries<B, E | DecodeError, EX, RX | R> =>
    decodeStage(self, (body: string, options) => {
      let parsed: unknown
      try {
        // Writers on Windows put a byte order mark first.
        parsed = JSON.parse(body.charCodeAt(0) === 0xfeff ? body.slice(1) : body)
      } catch {
        return Effect.fail("it is not JSON")
      }
      return decodeParsed(parsed, options)
    })
}

// -------------------------------------------------------------------------------------------------------- transform

/** Changes bodies. What `f` throws makes its delivery a failed one. */
export const map =
  <A, B>(f: (body: A) => B) =>
  <E, EX, RX>(self: Deliveries<A, E, EX, RX>): Deliveries<B, E, EX, RX> =>
    Stream.map(self, (delivery) => onLoop(inFlight(delivery), "Pipeline.map", () => mapDelivery(delivery, f)))

/**
 * Keeps deliveries whose body passes; acks the others, so that nothing stays in flight that no stage will settle. Failed
 * deliveries pass; one on which `predicate` throws, or answers with neither true nor false, is a failed one.
 */
export const filter =
  <A>(predicate: (body: A) => boolean) =>
  <E, EX, RX>(self: Deliveries<A, E, EX, RX>): Deliveries<A, E, EX, RX> =>
    Stream.filterMap(self, (delivery): Option.Option<Delivery<A, E>> => {
      const verdict = onLoop(inFlight(delivery), "Pipeline.filter", () =>
        mapDelivery(delivery, (body) => saysYes(predicate(body), "Pipeline.filter"))
      )
      if (Exit.isFailure(verdict.body)) return Option.some(withBody(delivery, Exit.failCause(verdict.body.cause)))
      if (verdict.body.value) return Option.some(delivery)
      inFlight(delivery).settle(Settlement.ack)
      return Option.none()
    })

export interface ConcurrencyOptions<in A> {
  /** Effects run at once: slots. Default 10. */
  readonly concurrency?: number | Tunable.Tunable | undefined
  /**
   * What is worked on in order, one at a time.
   *
   * - `"auto"` (the default): the groups of an ordered queue; nothing on a standard one, where group ids only share
   *   fairly.
   * - `"group"`: groups, on standard queues too.
   * - a function of the body: messages of equal keys. Their order holds within this process, until a redelivery.
   * - `"none"`: nothing, not even on an ordered queue.
   */
  readonly sequence?: "auto" | "group" | "none" | ((body: A) => string | undefined) | undefined
  /** Begin with the next of a group before the queue has confirmed the delete of the one before. Default false. */
  readonly ackAhead?: boolean | undefined
}

const concurrencyChecks: InvalidOptions.Checks<ConcurrencyOptions<never>> = {
  concurrency: InvalidOptions.checkedBelow,
  sequence: InvalidOptions.either(InvalidOptions.oneOf("auto", "group", "none"), InvalidOptions.func),
  ackAhead: InvalidOptions.flag
}

/**
 * Changes bodies with an effect and passes the deliveries on, still leased, in the order in which they finish; a later
 * stage settles them. A failure makes its delivery a failed one; a stop or a lost lease interrupts `f` and releases it.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 */
export const mapEffect =
  <A, B, E2, R2, E = never>(
    f: (body: A, delivery: Delivery<A, E>) => Effect.Effect<B, E2, R2>,
    options: ConcurrencyOptions<A> = {}
  ) =>
  <EX, RX>(self: Deliveries<A, E, EX, RX>): Deliveries<B, E | E2, EX | InvalidOptions.InvalidOptions, RX | R2> =>
    withConcurrency("Pipeline.mapEffect", f, options, concurrencyChecks, 10, undefined, (concurrency) =>
      dispatch(self, () => {
        const claims = new Claims()
        const change = (body: A, delivery: Delivery<A, E>) => effectOf(f(body, delivery), "Pipeline.mapEffect")
        return {
          concurrency,
          claims,
          deliveries: one,
          lanes: lanes(options),
          settles: false,
          passedOn: inFlight,
          start: (delivery, slot: Slot<Delivery<B, E | E2>>, runFork: RunFork<R2>) =>
            run(claims, delivery, change, runFork, {
              failed: (cause) => {
                inFlight(delivery).runsElsewhere ||= Exit.isSuccess(delivery.body)
                slot.failed(withBody(delivery, Exit.failCause(cause)))
              },
              succeeded: (value) => slot.done(withBody(delivery, Exit.succeed(value))),
              skipped: () => slot.failed()
            })
        }
      })
    )

// ---------------------------------------------------------------------------------------------------------- process

export interface SettleOptions<E, D> {
  /**
   * What happens after a failure: a policy, or `(failure, delivery) => policy`. The failure is the handler's, an earlier
   * stage's (`DecodeError`), a `HandlerDefect` or a `HandlerTimeout`. Default: `RetryPolicy.standard`.
   */
  readonly retry?: RetryPolicy.PolicyInput<RetryPolicy.Failure<E>, D> | undefined
}

export interface ProcessOptions<A, E, D> extends ConcurrencyOptions<A>, SettleOptions<E, D> {
  /** A handler that takes longer is interrupted and has failed with `HandlerTimeout`. Default: no limit. */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * How long a failed message is held here for its retry, its group waiting behind it; for a longer delay the group is
   * given back to the queue, in order. What is held keeps half of `maxInFlight` where others need the permits. Default 5
   * minutes.
   */
  readonly holdLimit?: Duration.DurationInput | undefined
  /**
   * What becomes of a group when the policy gives its head back or leaves it: `"block"` (the default) gives the rest
   * back too, behind it; `"skip"` goes on with the rest.
   */
  readonly onFailure?: "block" | "skip" | undefined
  /**
   * While it is open no handler starts and nothing is received. What fails then with a failure that trips it is no
   * matter for the policy and counts as no attempt: it is kept until the circuit lets it run again, or given back for
   * the circuit's delay where that is longer than `holdLimit`. Default: none.
   */
  readonly circuit?: Circuit.Circuit<RetryPolicy.Failure<E>> | undefined
  /**
   * A span `process <queue>` for each run of a handler, a trace of its own, linked to the producer's span where the message
   * carries one. Off by default.
   */
  readonly span?: boolean | undefined
}

export interface OnceOptions<in A, in B, out O, out E, out R> {
  /**
   * Runs the handler once for each key, kept in an `IdempotencyStore`: `Idempotency.by` or `Idempotency.byMessageId`. A
   * duplicate of what is done is acked without a run, with the result that is kept; one of what is being done waits here
   * without a slot, or is given back, and that is no matter for the policy. Default: none.
   */
  readonly once?: Once<A, B, O, E, R> | undefined
}

type WithOnce = OnceOptions<never, never, unknown, unknown, unknown>

const settleChecks: InvalidOptions.Checks<SettleOptions<never, never>> = { retry: RetryPolicy.check }

const processChecks: InvalidOptions.Checks<ProcessOptions<never, never, never> & WithOnce> = {
  ...concurrencyChecks,
  ...settleChecks,
  timeout: InvalidOptions.time({ min: "1 millis" }),
  holdLimit: InvalidOptions.time(),
  onFailure: InvalidOptions.oneOf("block", "skip"),
  circuit: Circuit.check,
  span: InvalidOptions.flag,
  once: InvalidOptions.having("what Idempotency.by or Idempotency.byMessageId makes", "key", "encode", "decode")
}

/**
 * Runs a handler on each delivery and settles it: acks on success, asks the retry policy on failure, releases where a stop
 * interrupts it; one that ends as interrupted of itself has failed. The results come as they finish; there is none for a delivery that failed.
 *
 * A handler that fails, dies or takes long concerns its own delivery only. Its logs carry the message's id, group and
 * attempt. The stage ends when every settlement is confirmed.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 */
export const process =
  <A, B, E2, R2, E = never, O = never, EO = never, RO = never>(
    handler: (body: A, delivery: Delivery<A, E>) => Effect.Effect<B, E2, R2>,
    options: ProcessOptions<A, E | E2 | EO, Delivery<A, E>> & OnceOptions<A, B, O, EO, RO> = {}
  ) =>
  <EX, RX>(self: Deliveries<A, E, EX, RX>): Stream.Stream<B | O, EX | InvalidOptions.InvalidOptions, RX | R2 | RO> =>
    withConcurrency("Pipeline.process", handler, options, processChecks, 10, options?.once, (concurrency, once) =>
      dispatch(self, () => {
        const claims = new Claims()
        const advise = sizeAdviser(concurrency)
        const plain = (body: A, delivery: Delivery<A, E>) => {
          const effect = limited(effectOf(handler(body, delivery), "Pipeline.process"), options.timeout, delivery)
          return options.span === true ? withSpan(effect, delivery.message, destination(delivery)) : effect
        }
        const circuit = options.circuit && Circuit.engine(options.circuit)
        const failures = failureTreatment<A, E | E2 | EO, Delivery<A, E>>(claims, options)
        const start = (delivery: Delivery<A, E>, slot: Slot<B | O>, runFork: RunFork<R2 | RO>): void => {
          failures.meet(inFlight(delivery).custodian, runFork)
          advise.begin(runFork)
          const ran = Exit.isSuccess(delivery.body)
          const ticket = ran ? circuit?.enter() : undefined
          if (slot.defer !== undefined && ran && ticket === undefined) {
            slot.defer()
            return
          }
          const handle = (body: A): Effect.Effect<B | NotRun<B | O>, E2 | EO | HandlerTimeout, R2 | RO> =>
            once === undefined
              ? plain(body, delivery)
              : once.around(
                  Effect.suspend(() => plain(body, delivery)),
                  delivery,
                  body,
                  runFork
                )
          run(claims, delivery, handle, runFork, {
            succeeded: (value) => {
              if (value instanceof NotRun && value.wait !== undefined) {
                circuit?.exit(ticket, "nothing")
                failures.wait(inFlight(delivery), value.wait, { wait: slot.wait, settled: () => slot.failed() })
                return
              }
              circuit?.exit(ticket, value instanceof NotRun ? "nothing" : "well")
              ackOf(inFlight(delivery))
              if (value instanceof NotRun) slot.done(...value.results)
              else slot.done(value)
            },
            failed: (cause) => {
              if (ran) circuit?.exit(ticket, circuit.trips(failureOf(delivery, cause)) ? "tripped" : "well")
              failures.treat(delivery, cause, runFork, {
                ran,
                settled: () => slot.failed(),
                hold: slot.hold,
                defer: slot.defer,
                runAgain: () => start(delivery, slot, runFork)
              })
            },
            skipped: () => {
              circuit?.exit(ticket, "nothing")
              slot.failed()
            }
          })
        }
        return {
          concurrency,
          claims,
          deliveries: one,
          lanes: lanes(options),
          gate: circuit,
          settles: true,
          meets: (custodian, runFork) => {
            advise.meet(custodian)
            failures.meet(custodian, runFork)
          },
          foresee: once && ((delivery, runFork) => once.foresee(delivery, runFork)),
          start
        }
      })
    )

/**
 * Settles deliveries as they come: acks those whose body is a success, asks the retry policy for the failed ones. Ends
 * a pipeline that goes on after its handler: `mapEffect`, then produce elsewhere, then `settle`.
 */
export const settle =
  <E, A>(options: SettleOptions<E, Delivery<A, E>> = {}) =>
  <EX, RX>(self: Deliveries<A, E, EX, RX>): Stream.Stream<A, EX | InvalidOptions.InvalidOptions, RX> =>
    Stream.unwrap(
      Effect.map(InvalidOptions.check("Pipeline.settle", options, settleChecks), () =>
        process<A, A, never, never, E>((body) => Effect.succeed(body), {
          ...options,
          concurrency: Number.MAX_SAFE_INTEGER
        })(self)
      )
    )

interface Outcomes<B, E> {
  readonly succeeded: (value: B) => void
  readonly failed: (cause: Cause.Cause<E>) => void
  /** Nothing is left to do: it was released before it began, or because it was interrupted. */
  readonly skipped: () => void
}

/** Claims a delivery and runs `f` on it in a fiber of its own: the few steps that every message costs. */
const run = <A, E, B, E2, R2>(
  claims: Claims,
  delivery: Delivery<A, E>,
  f: (body: A, delivery: Delivery<A, E>) => Effect.Effect<B, E2, R2>,
  runFork: RunFork<R2>,
  outcomes: Outcomes<B, E | E2>
): void => {
  const held = inFlight(delivery)
  if (!claims.claim(held)) {
    outcomes.skipped()
    return
  }
  if (Exit.isFailure(delivery.body)) {
    outcomes.failed(delivery.body.cause)
    return
  }
  const startedAt = held.custodian.now()
  const body = delivery.body.value
  const fiber = runFork(
    Effect.suspend(() => f(body, delivery)),
    held
  )
  claims.works(held, fiber)
  fiber.addObserver((exit) => {
    claims.rests(held)
    const stopped = claims.stopped(fiber, exit)
    const ran = !stopped && !(Exit.isSuccess(exit) && exit.value instanceof NotRun)
    if (ran) held.custodian.handled(held, held.custodian.now() - startedAt, Exit.isSuccess(exit))
    if (Exit.isSuccess(exit)) {
      outcomes.succeeded(exit.value)
    } else if (stopped) {
      held.settle(Settlement.release)
      outcomes.skipped()
    } else {
      outcomes.failed(ownFailure(exit.cause))
    }
  })
}

/** A handler that ends as interrupted of itself has failed: it must not come back as if it had been stopped. */
const ownFailure = <E>(cause: Cause.Cause<E>): Cause.Cause<E> =>
  Cause.isInterruptedOnly(cause) ? Cause.die(new Error(interruptedFromWithin)) : cause

const interruptedFromWithin =
  "the handler ended as interrupted, and neither a stop nor a lost lease has done it: what it waits for was interrupted (a fiber that it joins, a Deferred, a cached effect), or it interrupts itself"

const failureOf = <E>(delivery: Delivery<unknown, unknown>, cause: Cause.Cause<E>): RetryPolicy.Failure<E> =>
  Option.getOrElse(
    Cause.failureOption(cause),
    () => new HandlerDefect({ messageId: delivery.message.id, defect: Cause.squash(cause) })
  )

const destination = (delivery: Delivery<unknown, unknown>) => inFlight(delivery).custodian.destination

// A handler may have been too late: on a standard queue the delete may still succeed.
const ackOf = (delivery: InFlight): void => {
  if (!delivery.settle(Settlement.ack)) delivery.custodian.ackLate(delivery)
}

interface AfterFailure {
  /** Whether a handler ran on it, and not an earlier stage has failed. */
  readonly ran: boolean
  readonly settled: () => void
  readonly hold: ((millis: number) => void) | undefined
  readonly defer: (() => void) | undefined
  readonly runAgain: () => void
}

/** Warns, once a consumer, of what its queue cannot do for a policy. */
const adviser = () => {
  const said = new Set<string>()
  return (policy: RetryPolicy.RetryPolicy<never>, custodian: Custodian, runFork: RunFork<never>): void => {
    for (const warning of RetryPolicy.warnings(policy, custodian)) {
      if (said.has(warning)) continue
      said.add(warning)
      runFork(Effect.logWarning(warning))
    }
  }
}

/** Warns, once, of more work at a time than the consumers that a stage has met may have in flight together. */
const sizeAdviser = (concurrency: Tunable.Tunable, max?: number) => {
  const met = new Set<Custodian>()
  let begun = false
  return {
    meet: (custodian: Custodian): void => {
      met.add(custodian)
    },
    begin: (runFork: RunFork<never>): void => {
      if (begun || met.size === 0) return
      begun = true
      const all = [...met].reduce((sum, { maxInFlight }) => sum + maxInFlight, 0)
      const names = [...met].map(({ queueName }) => queueName).join(", ")
      const slots = concurrency.unsafeGet()
      if (max !== undefined && max > all) {
        const advice = `max is ${max}, and at most ${all} messages of ${names} are in flight: no batch is ever full, and each waits for its time; raise maxInFlight to twice max or more, or lower max`
        runFork(Effect.logWarning(advice))
      } else if (slots > all && slots < Number.MAX_SAFE_INTEGER) {
        const advice = `concurrency is ${slots}, and at most ${all} messages of ${names} are in flight: no more handlers than that ever run; raise maxInFlight above concurrency, or lower concurrency`
        runFork(Effect.logWarning(advice))
      }
    }
  }
}

/** What a circuit gives back stays away for at least so long, in milliseconds. */
const shortestExcuse = 1000

/** Asks the policy, and does what it says, unless a circuit says that the failure is not the message's. */
const failureTreatment = <A, E, D extends Delivery<A, unknown>>(
  claims: Claims,
  options: Pick<ProcessOptions<A, E, D>, "retry" | "holdLimit" | "onFailure" | "circuit">
) => {
  const policy = options.retry ?? RetryPolicy.standard
  const advise = adviser()
  const met = new Set<Custodian>()
  const holdLimit = Duration.toMillis(options.holdLimit ?? "5 minutes")
  const circuit = options.circuit && Circuit.engine(options.circuit)

  const excuse = (held: InFlight, remaining: number | undefined, after: AfterFailure): void => {
    const delay = remaining ?? 0
    if (
      after.defer !== undefined &&
      !held.custodian.draining &&
      delay <= holdLimit &&
      held.custodian.now() + delay < held.custodian.keptUntil(held)
    ) {
      held.retriesInARow = 0
      after.defer()
      return
    }
    held.settle(remaining === undefined ? Settlement.leave : Settlement.retry(Math.max(shortestExcuse, remaining)))
    after.settled()
  }

  /** It cannot run yet, for no fault of its own: it waits here where it may, and the policy is not asked. */
  const wait = (
    held: InFlight,
    millis: number,
    after: { readonly wait: ((millis: number) => void) | undefined; readonly settled: () => void }
  ): void => {
    const { custodian } = held
    if (
      after.wait !== undefined &&
      !custodian.draining &&
      millis <= holdLimit &&
      custodian.now() + millis < custodian.keptUntil(held)
    ) {
      held.heldUntil = custodian.now() + millis
      after.wait(millis)
      return
    }
    held.settle(Settlement.retry(millis))
    after.settled()
  }

  /**
   * A consumer says what its queue can do as it starts, or with its first delivery where an operator between runs it apart;
   * a policy that is a function says it as it is asked.
   */
  const meet = (custodian: Custodian, runFork: RunFork<never>): void => {
    if (met.has(custodian)) return
    met.add(custodian)
    if (typeof policy !== "function") advise(policy, custodian, runFork)
  }

  const treat = (
    delivery: D,
    cause: Cause.Cause<E | HandlerTimeout>,
    runFork: RunFork<never>,
    after: AfterFailure
  ): void => {
    const held = inFlight(delivery)
    held.custodian.failed(held, failureOf(delivery, cause))
    if (circuit !== undefined && circuit.flow !== "all" && after.ran && circuit.trips(failureOf(delivery, cause))) {
      runFork(Effect.logDebug(`handler failed while ${circuit.name} is open`, cause), inFlight(delivery))
      excuse(held, circuit.remaining, after)
      return
    }
    const decide = Effect.suspend(() => {
      const failure = failureOf(delivery, cause)
      const resolved = policyOf(policy, failure, delivery)
      advise(resolved, held.custodian, runFork)
      return RetryPolicy.decide(resolved, failure, delivery)
    })
    const decided = runFork(
      // A logger reads the error, which may throw.
      Effect.catchAllCause(Effect.logDebug("handler failed", cause), () => Effect.void).pipe(
        Effect.zipRight(decide),
        Effect.tap((decision) => (decision._tag === "RunAgain" ? Effect.sleep(decision.delay) : Effect.void))
      ),
      held
    )
    claims.ponders(held, decided)
    decided.addObserver((exit) => {
      claims.rests(held)
      if (claims.stopped(decided, exit)) {
        held.settle(Settlement.release)
        return after.settled()
      }
      if (Exit.isFailure(exit)) held.custodian.undecided(held, Cause.squash(exit.cause))
      const decision = Exit.isSuccess(exit) ? exit.value : Settlement.leave
      if (decision._tag === "RunAgain") {
        held.retries++
        held.retriesInARow++
        if (after.hold !== undefined) held.custodian.holds(held)
        return after.runAgain()
      }
      const delay = decision._tag === "Retry" ? Duration.toMillis(decision.delay) : Number.POSITIVE_INFINITY
      const now = held.custodian.now()
      const mayHold = after.hold !== undefined && !held.runsElsewhere && !held.custodian.draining
      if (mayHold && delay <= holdLimit && now + delay < held.custodian.keptUntil(held)) {
        held.holds++
        held.retriesInARow = 0
        held.heldUntil = now + delay
        return after.hold(delay)
      }
      held.skipped = options.onFailure === "skip"
      held.settle(decision)
      after.settled()
    })
  }

  return { meet, treat, wait }
}

const limited = <B, E, R>(
  effect: Effect.Effect<B, E, R>,
  timeout: Duration.DurationInput | undefined,
  delivery: Delivery<unknown, unknown> | undefined
): Effect.Effect<B, E | HandlerTimeout, R> =>
  timeout === undefined
    ? effect
    : Effect.timeoutFail(effect, {
        duration: timeout,
        onTimeout: () => {
          const messageId = delivery?.message.id ?? "?"
          const limit = Duration.format(Duration.decode(timeout))
          return new HandlerTimeout({
            messageId,
            message: `the handler of message ${messageId} took more than ${limit}`
          })
        }
      })

/** Which deliveries wait for which. */
const lanes = <A, E>({
  ackAhead = false,
  sequence = "auto"
}: ConcurrencyOptions<A>): Lanes<Delivery<A, E>> | undefined =>
  sequence === "none"
    ? undefined
    : {
        ackAhead,
        mixed: false,
        of: (delivery) => {
          const { message } = delivery
          const { custodian } = inFlight(delivery)
          if (typeof sequence === "function") {
            const key = Exit.isSuccess(delivery.body) ? keyOf(sequence, delivery.body.value) : undefined
            return key === undefined ? noLanes : [`${custodian.queueName} key ${key}`]
          }
          return message.group !== undefined && (custodian.ordered || sequence === "group")
            ? [`${custodian.queueName} ${message.group}`]
            : noLanes
        }
      }

const noLanes: ReadonlyArray<string | undefined> = []

const one = (delivery: Delivery<unknown, unknown>): ReadonlyArray<InFlight> => [inFlight(delivery)]

// A key that throws, or is no text, is the handler's to find: the message is in no lane.
const keyOf = <A>(key: (body: A) => string | undefined, body: A): string | undefined => {
  const found: unknown = attempt(() => key(body), undefined)
  return typeof found === "string" || typeof found === "number" ? String(found) : undefined
}

interface Limits {
  readonly concurrency?: number | Tunable.Tunable | undefined
  readonly timeout?: Duration.DurationInput | undefined
  readonly holdLimit?: Duration.DurationInput | undefined
}

/** Checks what a stage was given before it is made. */
const withConcurrency = <L extends Limits, A, E, R, A1 = never, B = never, O = never, EO = never, RO = never>(
  stage: string,
  handler: unknown,
  options: L,
  checks: InvalidOptions.Checks<NoInfer<L>>,
  standard: number,
  once: Once<A1, B, O, EO, RO> | undefined,
  make: (concurrency: Tunable.Tunable, once: Guard<A1, B, O, EO, RO> | undefined) => Stream.Stream<A, E, R>
): Stream.Stream<A, E | InvalidOptions.InvalidOptions, R | RO> =>
  Stream.unwrap(
    Effect.gen(function* () {
      yield* InvalidOptions.argument("handler", handler, InvalidOptions.func)
      yield* InvalidOptions.check(stage, options, checks)
      const { concurrency = standard, holdLimit, timeout } = options
      yield* InvalidOptions.warnOfBareNumbers({ timeout, holdLimit })
      const slots = yield* Tunable.from("concurrency", concurrency, { min: 1, whole: true })
      return make(slots, once && (yield* guard(once)))
    })
  )

// ------------------------------------------------------------------------------------------------------------ batch

export interface BatchOptions {
  /** Deliveries in a batch, at most. */
  readonly max: number
  /** Bytes of raw bodies in a batch, at most (UTF-8). One that is larger makes a batch of its own. Default: no limit. */
  readonly maxBytes?: number | undefined
  /** How long a batch waits to be filled, from its first delivery. Default 1 second. */
  readonly within?: Duration.DurationInput | undefined
}

const batchChecks: InvalidOptions.Checks<BatchOptions> = {
  max: InvalidOptions.required(InvalidOptions.aWholeNumber({ min: 1 })),
  maxBytes: InvalidOptions.aWholeNumber({ min: 1 }),
  within: InvalidOptions.time()
}

export type { Batch } from "./internal/run/batchStage.js"

/**
 * Gathers deliveries by count, bytes and time, for the user to settle each. It holds one batch beside the one that it
 * fills; all of it counts as in flight, so `max` should be well below `maxInFlight`.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 */
export const batch =
  (options: BatchOptions) =>
  <A, E, EX, RX>(self: Deliveries<A, E, EX, RX>): Stream.Stream<Batch<A, E>, EX | InvalidOptions.InvalidOptions, RX> =>
    Stream.unwrap(
      Effect.map(InvalidOptions.check("Pipeline.batch", options, batchChecks), () => {
        const { max, maxBytes = Number.MAX_SAFE_INTEGER, within = "1 second" } = options
        return batchStage(self, { max, maxBytes, within: Duration.toMillis(within) })
      })
    )

/**
 * `concurrency` counts batches and is 1 by default. A `span` is that of a batch, linked to all that produced its messages.
 * What fails in a lane is held up to `holdLimit` as in `process`, with what follows it in its batch; they run again as a
 * batch of their own, and its other lanes do not wait for them.
 */
export interface ProcessBatchesOptions<A, E, D> extends ProcessOptions<A, E, D>, BatchOptions {}

const batchesChecks: InvalidOptions.Checks<ProcessBatchesOptions<never, never, never> & WithOnce> = {
  ...processChecks,
  ...batchChecks
}

/**
 * Runs a handler on many deliveries at once, `concurrency` batches at a time (default 1). The handler answers with each
 * message's own result, in the order of the bodies; answering with nothing acks them all, and failing fails them all.
 * Deliveries that failed before (they did not decode) are settled by the policy and never reach the handler.
 *
 * In a lane (an ordered queue's groups) no two batches that hold messages of one group run at once, and what follows a
 * failed message in its batch is not acked, whatever its own result: it comes again behind it.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 */
export const processBatches =
  <A, B = never, EI = never, E2 = never, R2 = never, E = never, O = never, EO = never, RO = never>(
    handler: (
      bodies: ReadonlyArray<A>,
      deliveries: ReadonlyArray<Delivery<A, E>>
    ) => Effect.Effect<ReadonlyArray<Either.Either<B, EI>> | void, E2, R2>,
    options: ProcessBatchesOptions<A, E | EI | E2 | EO, Delivery<A, E>> & OnceOptions<A, B, O, EO, RO>
  ) =>
  <EX, RX>(self: Deliveries<A, E, EX, RX>): Stream.Stream<B | O, EX | InvalidOptions.InvalidOptions, RX | R2 | RO> =>
    withConcurrency("Pipeline.processBatches", handler, options, batchesChecks, 1, options?.once, (concurrency, once) =>
      dispatch(
        batch(InvalidOptions.only<BatchOptions>(batchChecks, options))(self),
        (): Stage<Batch<A, E>, B | O, R2 | RO> => {
          const claims = new Claims()
          const advise = sizeAdviser(concurrency, options.max)
          const sequenced = lanes<A, E>(options)
          const laneOf = (delivery: Delivery<A, E>) => sequenced?.of(delivery)[0]
          const circuit = options.circuit && Circuit.engine(options.circuit)
          const failures = failureTreatment<A, E | EI | E2 | EO, Delivery<A, E>>(claims, options)

          const work = (
            deliveries: ReadonlyArray<Delivery<A, E>>,
            runFork: RunFork<R2 | RO>,
            ends: Ends<B | O, Delivery<A, E>>
          ): void => {
            const { afterAcks, failed: ended, held, settled } = ends
            // What is to run again does so together, once the policy has spoken on all: a batch takes one slot.
            const treat = (failed: Followers<Delivery<A, E>, E | EI | E2 | EO | HandlerTimeout>) => {
              const again: Array<Delivery<A, E>> = []
              let undecided = failed.size
              const decided = () => {
                if (--undecided === 0 && again.length > 0) afterAcks(again, () => work(again, runFork, ends))
              }
              failed.forEach((delivery, cause, followers) =>
                failures.treat(delivery, cause, runFork, {
                  ran: Exit.isSuccess(delivery.body),
                  hold:
                    held === undefined || laneOf(delivery) === undefined
                      ? undefined
                      : () => {
                          for (const each of [delivery, ...followers]) held(inFlight(each))
                          decided()
                        },
                  defer: undefined,
                  runAgain: () => {
                    again.push(delivery, ...followers)
                    decided()
                  },
                  settled: () => {
                    for (const follower of followers) {
                      inFlight(follower).settle(Settlement.release)
                      ended()
                    }
                    ended()
                    decided()
                  }
                })
              )
            }
            const sound: Array<{ readonly delivery: Delivery<A, E>; readonly body: A }> = []
            const unsound = new Followers<Delivery<A, E>, E | EI | E2 | EO | HandlerTimeout>(laneOf)
            const waiting = new Set<string>()
            for (const delivery of deliveries) {
              const lane = laneOf(delivery)
              const { custodian, heldUntil } = inFlight(delivery)
              if (!claims.claim(inFlight(delivery))) settled()
              else if (held && (heldUntil > custodian.now() || (lane !== undefined && waiting.has(lane)))) {
                if (lane !== undefined) waiting.add(lane)
                held(inFlight(delivery))
              } else if (unsound.follows(delivery)) continue
              else if (Exit.isFailure(delivery.body)) unsound.fails(delivery, delivery.body.cause)
              else sound.push({ delivery, body: delivery.body.value })
            }
            treat(unsound)
            // What the policy has just given back may have taken others of its group with it.
            const begun = sound.filter(({ delivery }) => inFlight(delivery).phase < Phase.Settling)
            for (let i = begun.length; i < sound.length; i++) settled()
            if (begun.length === 0) return
            const asked = begun.map(({ delivery }) => delivery)
            let well = false
            const run = (which: ReadonlyArray<number>) => {
              const items = which.flatMap((i) => begun[i] ?? [])
              const deliveries = items.map(({ delivery }) => delivery)
              const [first] = deliveries
              const effect = limited(
                Effect.suspend(() =>
                  effectOf(
                    handler(
                      items.map(({ body }) => body),
                      deliveries
                    ),
                    "Pipeline.processBatches"
                  )
                ),
                options.timeout,
                first
              )
              const traced =
                options.span === true && first !== undefined
                  ? withBatchSpan(
                      effect,
                      deliveries.map(({ message }) => message),
                      destination(first)
                    )
                  : effect
              return Effect.map(Effect.exit(traced), (exit) => {
                well = Exit.isSuccess(exit)
                // The answer is the user's, and reading it may throw.
                return items.map((_, i) =>
                  attempt(() => resultOf(exit, i, items.length), Exit.die(new TypeError(noResults)))
                )
              })
            }
            const answered: Effect.Effect<
              ReadonlyArray<BatchAnswer<B, O, E | EI | E2 | EO | HandlerTimeout>>,
              never,
              R2 | RO
            > = once === undefined
              ? run(begun.map((_, i) => i))
              : once.aroundBatch(
                  run,
                  begun.map((item) => ({ ...item, lane: laneOf(item.delivery) })),
                  runFork
                )
            const ticket = circuit?.enter()
            runBatch(claims, asked, answered, runFork, (exit, stopped, millis) => {
              const results = asked.map(
                (_, i): BatchAnswer<B, O, E | EI | E2 | EO | HandlerTimeout> =>
                  Exit.isFailure(exit) ? Exit.failCause(exit.cause) : (exit.value[i] ?? Exit.interrupt(FiberId.none))
              )
              asked.forEach((delivery, i) => {
                const result = results[i]
                if (stopped || (result?._tag === "Success" && result.value instanceof NotRun)) return
                inFlight(delivery).custodian.handled(inFlight(delivery), millis, well)
              })
              circuit?.exit(ticket, stopped ? "nothing" : verdictOf(circuit, asked, results))
              const failed = new Followers<Delivery<A, E>, E | EI | E2 | EO | HandlerTimeout>(laneOf)
              asked.forEach((delivery, i) => {
                if (failed.follows(delivery)) return
                const result = results[i] ?? Exit.interrupt(FiberId.none)
                if (stopped) {
                  inFlight(delivery).settle(Settlement.release)
                  ended()
                } else if (Exit.isFailure(result)) {
                  failed.fails(delivery, ownFailure(result.cause))
                } else if (result.value instanceof NotRun && result.value.wait !== undefined) {
                  const wait = held && (() => held(inFlight(delivery)))
                  failures.wait(inFlight(delivery), result.value.wait, { wait, settled: ended })
                } else {
                  ackOf(inFlight(delivery))
                  settled(...(result.value instanceof NotRun ? result.value.results : result.value))
                }
              })
              treat(failed)
            })
          }

          return {
            concurrency,
            claims,
            deliveries: ({ deliveries }) => deliveries.map(inFlight),
            gate: circuit,
            lanes: sequenced && { ...sequenced, mixed: true, of: ({ deliveries }) => deliveries.map(laneOf) },
            settles: true,
            meets: (custodian, runFork) => {
              advise.meet(custodian)
              failures.meet(custodian, runFork)
            },
            foresee:
              once &&
              (({ deliveries }, runFork) => {
                for (const delivery of deliveries) once.foresee(delivery, runFork)
              }),
            start: ({ deliveries }, slot: Slot<B | O>, runFork: RunFork<R2 | RO>) => {
              for (const delivery of deliveries) failures.meet(inFlight(delivery).custodian, runFork)
              advise.begin(runFork)
              const results: Array<B | O> = []
              const hold = slot.hold ?? slot.wait
              const held: Array<InFlight> = []
              let left = deliveries.length
              let failed = false
              const settled = (...more: ReadonlyArray<B | O>) => {
                results.push(...more)
                if (--left > 0) return
                const again = held.filter(({ phase }) => phase < Phase.Settling)
                const [first] = again
                if (first !== undefined && hold !== undefined) {
                  const now = first.custodian.now()
                  const next = Math.min(...again.flatMap(({ heldUntil }) => (heldUntil > now ? heldUntil : [])))
                  hold(next === Number.POSITIVE_INFINITY ? 0 : next - now, ...results)
                } else if (failed || held.length > 0) slot.failed(...results)
                else slot.done(...results)
              }
              const afterAcks: Ends<B | O, Delivery<A, E>>["afterAcks"] = (again, run) => {
                const own = new Set(again.map(laneOf))
                let unconfirmed = 1
                const confirmed = () => {
                  if (--unconfirmed === 0) run()
                }
                for (const delivery of sequenced === undefined || sequenced.ackAhead ? [] : deliveries) {
                  const lane = laneOf(delivery)
                  if (lane === undefined || !own.has(lane) || inFlight(delivery).phase !== Phase.Settling) continue
                  unconfirmed++
                  inFlight(delivery).onEnded(confirmed)
                }
                confirmed()
              }
              const ends: Ends<B | O, Delivery<A, E>> = {
                afterAcks,
                settled,
                failed: () => {
                  failed = true
                  settled()
                },
                held:
                  hold &&
                  ((delivery) => {
                    held.push(delivery)
                    settled()
                  })
              }
              afterAcks(
                deliveries.filter((delivery) => inFlight(delivery).phase < Phase.Settling),
                () => work(deliveries, runFork, ends)
              )
            }
          }
        }
      )
    )

/** Told once for each delivery of a batch: how it leaves the slot. */
interface Ends<in B, in D> {
  /**
   * Runs once the deletes of what these follow in their lanes are confirmed (invariant 5): what succeeded in the same batch
   * is in front of what of it runs again.
   */
  readonly afterAcks: (again: ReadonlyArray<D>, run: () => void) => void
  readonly settled: (...results: ReadonlyArray<B>) => void
  /** What is behind it in its lane waits for its end. */
  readonly failed: () => void
  /** It stays in its lane and runs again. */
  readonly held: ((delivery: InFlight) => void) | undefined
}

/** What failed in a batch, and what follows it in its lane and so must wait. */
class Followers<D, E> {
  readonly #laneOf: (delivery: D) => string | undefined
  readonly #failed: Array<{ readonly delivery: D; readonly cause: Cause.Cause<E>; readonly followers: Array<D> }> = []
  readonly #byLane = new Map<string, Array<D>>()

  constructor(laneOf: (delivery: D) => string | undefined) {
    this.#laneOf = laneOf
  }

  get size(): number {
    return this.#failed.length
  }

  follows(delivery: D): boolean {
    const lane = this.#laneOf(delivery)
    const followers = lane === undefined ? undefined : this.#byLane.get(lane)
    followers?.push(delivery)
    return followers !== undefined
  }

  fails(delivery: D, cause: Cause.Cause<E>): void {
    const followers: Array<D> = []
    this.#failed.push({ delivery, cause, followers })
    const lane = this.#laneOf(delivery)
    if (lane !== undefined) this.#byLane.set(lane, followers)
  }

  forEach(f: (delivery: D, cause: Cause.Cause<E>, followers: ReadonlyArray<D>) => void): void {
    for (const { cause, delivery, followers } of this.#failed) f(delivery, cause, followers)
  }
}

const noResults =
  "a batch handler answered with something else than an Either for each message: write `Either.right(result)` or `Either.left(error)`, or answer with nothing to ack them all"

/** What a batch handler's answer says of its i-th message: at most one result. */
const resultOf = <B, EI, E>(
  exit: Exit.Exit<ReadonlyArray<Either.Either<B, EI>> | void, E>,
  i: number,
  asked: number
): Exit.Exit<ReadonlyArray<B>, E | EI> => {
  if (Exit.isFailure(exit)) return Exit.failCause(exit.cause)
  const answer = exit.value
  if (answer === undefined) return Exit.succeed([])
  if (!Array.isArray(answer)) return Exit.die(new TypeError(noResults))
  const result: Either.Either<B, EI> | undefined = answer[i]
  if (result === undefined) {
    return Exit.die(new Error(`a batch handler answered with ${answer.length} results for ${asked} messages`))
  }
  // Plain JavaScript may have answered with anything.
  if (!Either.isEither(result)) return Exit.die(new TypeError(noResults))
  return Either.isLeft(result) ? Exit.fail(result.left) : Exit.succeed([result.right])
}

/** A batch is one run: it has tripped where any message of it has. */
const verdictOf = <E>(
  circuit: Circuit.Engine<RetryPolicy.Failure<E>>,
  deliveries: ReadonlyArray<Delivery<unknown, unknown>>,
  results: ReadonlyArray<Exit.Exit<unknown, E | HandlerTimeout>>
): Circuit.Verdict => {
  for (const [i, delivery] of deliveries.entries()) {
    const result = results[i]
    if (result === undefined || Exit.isSuccess(result)) continue
    if (circuit.trips(failureOf(delivery, result.cause))) return "tripped"
  }
  return "well"
}

const runBatch = <A, E, R>(
  claims: Claims,
  deliveries: ReadonlyArray<Delivery<unknown, unknown>>,
  effect: Effect.Effect<A, E, R>,
  runFork: RunFork<R>,
  onExit: (exit: Exit.Exit<A, E>, stopped: boolean, millis: number) => void
): void => {
  const held = deliveries.map(inFlight)
  const [first] = held
  if (first === undefined) return
  const startedAt = first.custodian.now()
  const fiber = runFork(effect, first, true)
  for (const delivery of held) claims.works(delivery, fiber)
  fiber.addObserver((exit) => {
    const stopped = claims.stopped(fiber, exit)
    for (const delivery of held) claims.rests(delivery)
    onExit(exit, stopped, first.custodian.now() - startedAt)
  })
}
