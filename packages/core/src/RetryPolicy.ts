/**
 * What happens to a delivery after its handler failed. A policy is a value; it is asked once a failure and answers with
 * a settlement, or passes the question on.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as Pipeable from "effect/Pipeable"
import * as Schedule from "effect/Schedule"
import * as Struct from "effect/Struct"
import type { TagOf } from "./Circuit.js"
import { DecodeError, type Delivery, type HandlerDefect, type HandlerTimeout, inFlight, Stale } from "./Delivery.js"
import * as InvalidOptions from "./InvalidOptions.js"
import { Delays } from "./internal/effect/delays.js"
import { KeyReused } from "./internal/idempotency/terms.js"
import type { QueueFacts } from "./internal/lease/source.js"
import * as Reason from "./Reason.js"
import * as Settlement from "./Settlement.js"

/** What a policy is told: the handler's own error, the defect that it died of, or that it took too long. */
export type Failure<E> = E | HandlerDefect | HandlerTimeout

/** What any policy may be told beside the user's own errors. */
export type OwnFailure = DecodeError | HandlerDefect | HandlerTimeout

/** What happens next: a settlement, or another run in the same slot. */
export type Decision = Settlement.Settlement | { readonly _tag: "RunAgain"; readonly delay: Duration.Duration }

/**
 * @typeParam E - the failures it can treat.
 */
export interface RetryPolicy<in E> extends Pipeable.Pipeable {
  /** `None` passes the question on. */
  readonly decide: (failure: E, delivery: Delivery<unknown, unknown>) => Effect.Effect<Option.Option<Decision>>
  /**
   * How many attempts it asks of the queue before it decides on an end of its own: a queue that takes a message away by
   * then has decided first. 1 where it asks for none, or leaves the end to the queue.
   */
  readonly attempts: number
  /** Whether it needs a place for dead letters. */
  readonly deadLetters: boolean
}

const example = 'RetryPolicy.redeliver(Schedule.exponential("1 second"), { attempts: 5 })'

const policyCheck: InvalidOptions.Check = InvalidOptions.required(
  InvalidOptions.having(`a RetryPolicy, such as ${example}`, "decide", "deadLetters")
)

/** @internal What may stand where a policy belongs. */
export const check: InvalidOptions.Check = InvalidOptions.either(policyCheck, {
  ...InvalidOptions.func,
  write: "a function from the failure to one"
})

const checkSchedule = (of: string, schedule: unknown) =>
  InvalidOptions.checkOrThrow(of, { schedule }, { schedule: InvalidOptions.required(InvalidOptions.schedule) })

interface Needs {
  readonly attempts: number
  readonly deadLetters: boolean
}

const nothing: Needs = { attempts: 1, deadLetters: false }

const both = (needs: ReadonlyArray<Needs>): Needs => ({
  attempts: Math.max(1, ...needs.map(({ attempts }) => attempts)),
  deadLetters: needs.some(({ deadLetters }) => deadLetters)
})

const make = <E>(decide: RetryPolicy<E>["decide"], { attempts, deadLetters }: Needs = nothing): RetryPolicy<E> => ({
  decide,
  attempts,
  deadLetters,
  pipe() {
    // biome-ignore lint/complexity/noArguments: what `pipeArguments` takes
    return Pipeable.pipeArguments(this, arguments)
  }
})

const always = (settle: (failure: unknown) => Settlement.Settlement, needs?: Needs): RetryPolicy<unknown> =>
  make((failure) => Effect.sync(() => Option.some(settle(failure))), needs)

/** Leaves it to the queue: delivered again after the queue's own timeout, set anew, or moved by its redrive policy. */
export const leave: RetryPolicy<unknown> = /* @__PURE__ */ always(() => Settlement.leave)

/** Acks it all the same: the failure is counted and the message is gone. */
export const discard: RetryPolicy<unknown> = /* @__PURE__ */ always(() => Settlement.ack)

/** Moves it to the dead letters with the failure as the reason; leaves it to the queue where there are none. */
export const deadLetter: RetryPolicy<unknown> = always(
  (failure) => Settlement.deadLetter(Reason.of(failure), Reason.nameOf(failure)),
  { attempts: 1, deadLetters: true }
)

/**
 * Visible again after the delay that `schedule` has for this attempt: it is stepped from its start, once for each
 * attempt so far, with the present failure as its input. Passes on when the schedule is over, or after `attempts`
 * attempts, those here since the last receive included (default: no end). A delay is cut to what is left of the longest
 * lease (SQS: 12 hours). In a lane the message is held here instead, up to `holdLimit` of the stage, so that nothing
 * overtakes it. Throws `InvalidOptions` where an option cannot work.
 */
export const redeliver = <E = unknown>(
  schedule: Schedule.Schedule<unknown, E>,
  options: { readonly attempts?: number | undefined } = {}
): RetryPolicy<E> => {
  checkSchedule("RetryPolicy.redeliver", schedule)
  InvalidOptions.checkOrThrow("RetryPolicy.redeliver", options, { attempts: InvalidOptions.aWholeNumber({ min: 1 }) })
  return make(
    (failure, delivery) =>
      delivery.attempt >= (options.attempts ?? Infinity)
        ? Effect.succeedNone
        : Effect.map(
            delayAt(schedule, failure, delivery.attempt - (inFlight(delivery).tries?.inPlace ?? 0)),
            Option.map((delay) => Settlement.retry(delay))
          ),
    { attempts: options.attempts ?? 1, deadLetters: false }
  )
}

/**
 * Runs the handler again in its slot, after the schedule's delays; passes on when the schedule is over, and where an
 * earlier stage has failed (decode, `mapEffect`), which does not run again here. For failures that are over in a moment:
 * the slot is taken meanwhile. No receive is spent on it.
 */
export const inPlace = <E = unknown>(schedule: Schedule.Schedule<unknown, E>): RetryPolicy<E> => {
  checkSchedule("RetryPolicy.inPlace", schedule)
  return make((failure, delivery) =>
    Exit.isFailure(delivery.body)
      ? Effect.succeedNone
      : Effect.map(
          delayAt(schedule, failure, (inFlight(delivery).tries?.inARow ?? 0) + 1),
          Option.map((delay): Decision => ({ _tag: "RunAgain", delay }))
        )
  )
}

/** A schedule's delays have long reached their cap by then. */
const mostSteps = 1000

const delayAt = <E>(schedule: Schedule.Schedule<unknown, E>, input: E, step: number) =>
  Effect.gen(function* () {
    let now = yield* Clock.currentTimeMillis
    const delays = new Delays(schedule)
    const last = Math.min(step, mostSteps)
    for (let i = 1; ; i++) {
      const delay = yield* delays.next(now, input)
      if (delay === undefined) return Option.none<Duration.Duration>()
      if (i >= last) return Option.some(Duration.millis(delay))
      now += delay
    }
  })

/** Where the first policy passes, the second decides. */
export const orElse: {
  <E2>(that: RetryPolicy<E2>): <E>(self: RetryPolicy<E>) => RetryPolicy<E & E2>
  <E, E2>(self: RetryPolicy<E>, that: RetryPolicy<E2>): RetryPolicy<E & E2>
} = dual(2, <E, E2>(self: RetryPolicy<E>, that: RetryPolicy<E2>): RetryPolicy<E & E2> => {
  InvalidOptions.checkOrThrow("RetryPolicy.orElse", { that }, { that: policyCheck })
  return make(
    (failure, delivery) =>
      Effect.flatMap(self.decide(failure, delivery), (decision) =>
        Option.isSome(decision) ? Effect.succeed(decision) : that.decide(failure, delivery)
      ),
    both([self, that])
  )
})

/**
 * Dead-letters what no further attempt can help: a body that does not decode, one that is `Stale`, or whose key was used
 * for another. Passes on what failed otherwise. Where there is no place for dead letters it is left, and that is meant: it
 * needs none.
 */
export const poison: RetryPolicy<unknown> = make((failure, delivery) =>
  failure instanceof DecodeError || failure instanceof Stale || failure instanceof KeyReused
    ? deadLetter.decide(failure, delivery)
    : Effect.succeedNone
)

const patient = Schedule.exponential("1 second").pipe(Schedule.union(Schedule.spaced("15 minutes")), Schedule.jittered)

/**
 * What `process` does unless told otherwise: a body that does not decode, or whose key was used for another, is
 * dead-lettered, since trying again cannot help; anything else comes back after 1, 2, 4 … seconds, at most 15 minutes, jittered, until the queue's own redrive
 * policy takes it away.
 */
export const standard: RetryPolicy<unknown> = orElse(poison, redeliver(patient))

/** A policy for each tag that failures of this type can have; it sees the failures of that tag only. */
export type Cases<E> = {
  readonly [Tag in TagOf<E | OwnFailure>]?: RetryPolicy<(E | OwnFailure) & { readonly _tag: Tag }>
}

/**
 * A policy for each error tag; a failure whose tag is not named passes on. Where the errors are named, so are the tags
 * that may stand here, and each policy may look at the error of its tag; where they are not, any tag may, and the
 * policies look at no error.
 *
 * @example
 * RetryPolicy.match({
 *   OutOfStock: RetryPolicy.deadLetter,
 *   HttpError: RetryPolicy.redeliver(Schedule.exponential("1 second"))
 * }).pipe(RetryPolicy.orElse(RetryPolicy.standard))
 *
 * RetryPolicy.match<OutOfStock | HttpError>({ HttpError: RetryPolicy.redeliver(retryAfterOf) })
 */
export const match = <E = unknown>(cases: Cases<E>): RetryPolicy<E | OwnFailure> => {
  type F = E | OwnFailure
  InvalidOptions.checkOrThrow(
    "RetryPolicy.match",
    { cases },
    { cases: InvalidOptions.record({ ...policyCheck, required: false }) }
  )
  const byTag = new Map<string, RetryPolicy<F>>()
  const add = <Tag extends TagOf<F>>(tag: Tag) => {
    const policy: RetryPolicy<F & { readonly _tag: Tag }> | undefined = cases[tag]
    if (policy !== undefined) byTag.set(tag, only<F, Tag>(tag, policy))
  }
  for (const tag of Struct.keys(cases)) add(tag)
  return make(
    (failure, delivery) => byTag.get(Reason.tagOf(failure) ?? "")?.decide(failure, delivery) ?? Effect.succeedNone,
    both([...byTag.values()])
  )
}

const only = <F, Tag extends string>(tag: Tag, policy: RetryPolicy<F & { readonly _tag: Tag }>): RetryPolicy<F> =>
  make((failure, delivery) => (isTagged(failure, tag) ? policy.decide(failure, delivery) : Effect.succeedNone), policy)

const isTagged = <F, Tag extends string>(failure: F, tag: Tag): failure is F & { readonly _tag: Tag } =>
  Reason.tagOf(failure) === tag

/** A policy, or a function from the failure to one: an inline handler then keeps its error type. */
export type PolicyInput<F, D> = RetryPolicy<F> | ((failure: F, delivery: D) => RetryPolicy<F>)

/** @internal Where no policy decides, the queue does. Dies where the answer is no decision. */
export const decide = <F>(
  policy: RetryPolicy<F>,
  failure: F,
  delivery: Delivery<unknown, unknown>
): Effect.Effect<Decision> =>
  Effect.map(policy.decide(failure, delivery), (decision) => read(Option.getOrElse(decision, () => Settlement.leave)))

/** Made anew, field by field: a policy of the user's may answer with anything, and what it throws must throw here. */
const read = (decision: Decision): Decision => {
  switch (decision._tag) {
    case "Ack":
      return Settlement.ack
    case "Release":
      return Settlement.release
    case "Leave":
      return Settlement.leave
    case "Retry":
      return Settlement.retry(decision.delay)
    case "DeadLetter":
      return Settlement.deadLetter(decision.reason, decision.error)
    case "RunAgain":
      return { _tag: "RunAgain", delay: Duration.decode(decision.delay) }
    default:
      throw new Error("a retry policy decides on a Settlement, or on RunAgain")
  }
}

/** @internal What the queue that a consumer takes from cannot do for a policy. */
export const warnings = (policy: RetryPolicy<never>, { deadLetters, maxAttempts, name }: QueueFacts) => {
  const warnings: Array<string> = []
  if (maxAttempts !== undefined && maxAttempts <= policy.attempts) {
    warnings.push(
      `the retry policy makes ${policy.attempts} attempts, and ${name} takes a message away after ${maxAttempts}, those counted that a restart or a lost answer has used up: raise its limit (SQS: maxReceiveCount) well above ${policy.attempts}, or lower the policy's \`attempts\``
    )
  }
  if (policy.deadLetters && !deadLetters) {
    warnings.push(
      `the retry policy dead-letters, and ${name} has no place for dead letters: what fails for good comes again until its retention is over. Give the queue one (SQS: a redrive policy), or let the policy end otherwise, as with RetryPolicy.discard`
    )
  }
  return warnings
}
