import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { type Delivery, inFlight } from "../../Delivery.js"
import type { Begun, Claim, IdempotencyStoreError, Known } from "../../IdempotencyStore.js"
import { interrupted } from "../effect/interruption.js"
import { together } from "../effect/together.js"
import type { Follower, InFlight } from "../lease/inFlight.js"
import { Calls } from "./calls.js"
import type { Fork } from "./gather.js"
import { owners } from "./owners.js"
import { type BatchAnswer, type Guard, NotRun } from "./protection.js"
import { kept, seal, toKeep } from "./seal.js"
import { keyReused, type Once } from "./terms.js"

/** Another's claim may be over before it must be: it is looked at again after so long, in milliseconds. */
const longestWait = 5000
/** And not at once where it is about to be over, for the store's own clock to get there. */
const shortestWait = 50
/** A claim that could not be extended is tried again after so long, in milliseconds. */
const extendPause = 500

/** The claim of one delivery, which holds as long as its lease. */
class Session<B> implements Follower {
  readonly claim: Claim
  readonly fingerprint: string | undefined
  readonly held: InFlight
  readonly fork: Fork
  readonly #calls: Calls
  /** What the store has said of it last; nothing where it is not known. */
  begun: Exit.Exit<Begun, IdempotencyStoreError> | undefined
  #beginning: Array<(exit: Exit.Exit<Begun, IdempotencyStoreError>) => void> | undefined
  /** The handler has succeeded: it does not run again here, whatever becomes of its seal. */
  handled: ReadonlyArray<B> | undefined
  sealed = false
  #extending = false

  constructor(claim: Claim, fingerprint: string | undefined, held: InFlight, fork: Fork, calls: Calls) {
    this.claim = claim
    this.fingerprint = fingerprint
    this.held = held
    this.fork = fork
    this.#calls = calls
  }

  get #left(): Duration.Duration {
    return Duration.millis(Math.max(1, Math.ceil(this.held.deadline - this.held.source.clock.now())))
  }

  get #claimed(): boolean {
    return this.begun !== undefined && Exit.isSuccess(this.begun) && this.begun.value._tag === "Claimed"
  }

  /** Asks the store, or waits for its answer where it is asked already. */
  begin(answered: (exit: Exit.Exit<Begun, IdempotencyStoreError>) => void): void {
    if (this.#beginning !== undefined) {
      this.#beginning.push(answered)
      return
    }
    this.#beginning = [answered]
    const entry = { ...this.claim, fingerprint: this.fingerprint, holdFor: this.#left }
    this.#calls.begin.ask(entry, this.fork, (exit) => {
      const waiting = this.#beginning ?? []
      this.#beginning = undefined
      this.begun = exit
      for (const each of waiting) each(exit)
      // It has ended meanwhile.
      if (this.held.outcome !== undefined) this.letGo()
    })
  }

  /** What may have begun before its turn is asked again where it was not free then. */
  readonly turn: Effect.Effect<Begun, IdempotencyStoreError> = Effect.async((resume) => {
    const known = this.begun
    if (known !== undefined && Exit.isSuccess(known) && known.value._tag !== "Busy") resume(known)
    else this.begin(resume)
  })

  leaseExtended(): void {
    if (!this.#claimed || this.sealed || this.#extending) return
    this.#extending = true
    this.#calls.extend.ask({ ...this.claim, holdFor: this.#left }, this.fork, (exit) => {
      this.#extending = false
      if (!this.#claimed || this.sealed || this.held.outcome !== undefined) return
      if (Exit.isFailure(exit)) {
        this.held.source.reports.once("storeErrors")
        this.fork(Effect.sleep(extendPause)).addObserver(() => this.leaseExtended())
      } else if (!exit.value) this.#lost()
    })
  }

  #lost(): void {
    this.begun = undefined
    if (this.handled !== undefined || this.held.startedAt === undefined) return
    this.fork(
      Effect.logWarning(
        `the claim of key ${this.claim.key} was over before it could be extended, and another has it: the handler of message ${this.held.message.id} is interrupted`
      )
    )
    this.held.owner?.interrupt(this.held)
  }

  /** Abandons its claim, where it has or may have one, and does not wait for it. */
  letGo(): void {
    this.#abandon(() => {})
  }

  /** Completes when the claim is gone, as far as the store answers. */
  readonly abandoned: Effect.Effect<void> = Effect.async((resume) => this.#abandon(() => resume(Effect.void)))

  #abandon(done: () => void): void {
    const may = this.#claimed || (this.begun !== undefined && Exit.isFailure(this.begun))
    this.begun = undefined
    if (may && this.handled === undefined) this.#calls.abandon.ask(this.claim, this.fork, done)
    else done()
  }
}

class OnceGuard<A, B, O, E, R> implements Guard<A, B, O, E, R> {
  readonly #once: Once<A, B, O, E, R>
  readonly #calls: Calls
  readonly #owner: () => string
  readonly #sessions = new Map<InFlight, Session<B>>()

  constructor(once: Once<A, B, O, E, R>, calls: Calls, owner: () => string) {
    this.#once = once
    this.#calls = calls
    this.#owner = owner
  }

  /** The delivery's own session, from its first use to its end. Throws what the key's function throws. */
  #session(delivery: Delivery<A, unknown>, body: A, fork: Fork): Session<B> {
    const held = inFlight(delivery)
    const known = this.#sessions.get(held)
    if (known !== undefined) return known
    const key = this.#once.key(body, delivery)
    const fingerprint = this.#once.fingerprint(body)
    const session = new Session<B>({ key, owner: this.#owner() }, fingerprint, held, fork, this.#calls)
    this.#sessions.set(held, session)
    held.follower = session
    held.onEnded(() => {
      this.#sessions.delete(held)
      session.letGo()
    })
    return session
  }

  #made(delivery: Delivery<A, unknown>, body: A, fork: Fork): Exit.Exit<Session<B>> {
    try {
      return Exit.succeed(this.#session(delivery, body, fork))
    } catch (defect) {
      return Exit.die(defect)
    }
  }

  foresee(delivery: Delivery<A, unknown>, fork: Fork): void {
    if (Exit.isFailure(delivery.body) || inFlight(delivery).isSettling) return
    try {
      const session = this.#session(delivery, delivery.body.value, fork)
      if (session.begun === undefined && session.handled === undefined) session.begin(() => {})
    } catch {
      // A key that throws is the handler's to find.
    }
  }

  around<E2, R2>(
    handler: Effect.Effect<B, E2, R2>,
    delivery: Delivery<A, unknown>,
    body: A,
    fork: Fork
  ): Effect.Effect<B | NotRun<B | O>, E2 | E, R2 | R> {
    // What was begun is known of before anything interrupts.
    return Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        const session = this.#session(delivery, body, fork)
        return Effect.flatMap(
          this.#instead(session),
          (instead): Effect.Effect<B | NotRun<B | O>, E2 | E, R2 | R> =>
            instead === undefined
              ? Effect.matchCauseEffect(restore(handler), {
                  onFailure: (cause) => Effect.zipRight(session.abandoned, Effect.failCause(cause)),
                  onSuccess: (value) => Effect.as(this.#seal(session, [value]), value)
                })
              : Effect.succeed(instead)
        )
      })
    )
  }

  aroundBatch<E2, R2>(
    handler: (which: ReadonlyArray<number>) => Effect.Effect<ReadonlyArray<Exit.Exit<ReadonlyArray<B>, E2>>, never, R2>,
    deliveries: ReadonlyArray<{
      readonly delivery: Delivery<A, unknown>
      readonly body: A
      readonly lanes: ReadonlyArray<string>
    }>,
    fork: Fork
  ): Effect.Effect<ReadonlyArray<BatchAnswer<B, O, E2 | E>>, never, R2 | R> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.gen(this, function* () {
        const sessions = deliveries.map(({ body, delivery }) => this.#made(delivery, body, fork))
        // Of two with one key the later one asks for no claim: if it were first, both would wait for each other.
        const keys = new Set<string>()
        const instead = yield* together(
          sessions.map((made): Effect.Effect<NotRun<B | O> | undefined, E, R> => {
            if (Exit.isFailure(made)) return Effect.failCause(made.cause)
            const { key } = made.value.claim
            if (keys.has(key)) return Effect.succeed(new NotRun<B | O>([], shortestWait))
            keys.add(key)
            return this.#instead(made.value)
          })
        )
        const answers = new Map<number, BatchAnswer<B, O, E2 | E>>()
        const blocked = new Map<string, number>()
        const which: Array<number> = []
        for (const [i, { delivery, lanes }] of deliveries.entries()) {
          const answer = instead[i] ?? interrupted
          const before = lanes.find((lane) => blocked.has(lane))
          const wait = before === undefined ? undefined : blocked.get(before)
          if (wait !== undefined) {
            this.#sessions.get(inFlight(delivery))?.letGo()
            for (const lane of lanes) blocked.set(lane, wait)
            answers.set(i, Exit.succeed(new NotRun<never>([], wait)))
          } else if (Exit.isSuccess(answer) && answer.value === undefined) {
            which.push(i)
          } else {
            const waits = Exit.isFailure(answer) ? shortestWait : answer.value?.wait
            if (waits !== undefined) for (const lane of lanes) blocked.set(lane, waits)
            answers.set(
              i,
              Exit.map(answer, (value) => value ?? new NotRun<never>([]))
            )
          }
        }
        if (which.length === 0) return deliveries.map((_, i) => answers.get(i) ?? interrupted)
        const begun = which.map((i) => this.#sessions.get(inFlight(deliveries[i]?.delivery as Delivery<A, unknown>)))
        const results = yield* Effect.onExit(restore(handler(which)), (exit) =>
          Exit.isSuccess(exit) ? Effect.void : together(begun.map((session) => session?.abandoned ?? Effect.void))
        )
        const ends = yield* together(
          results.map((result, nth): Effect.Effect<void, E, R> => {
            const session = begun[nth]
            if (session === undefined) return Effect.void
            return Exit.isFailure(result) ? session.abandoned : this.#seal(session, result.value)
          })
        )
        which.forEach((i, nth) => {
          const end = ends[nth] ?? interrupted
          answers.set(i, Exit.isFailure(end) ? Exit.failCause(end.cause) : (results[nth] ?? interrupted))
        })
        return deliveries.map((_, i) => answers.get(i) ?? interrupted)
      })
    )
  }

  /** What comes instead of a run; nothing where the handler may run. */
  #instead(session: Session<B>): Effect.Effect<NotRun<B | O> | undefined, E, R> {
    const { handled } = session
    // An earlier run of it here has succeeded, and only its seal has failed.
    if (handled !== undefined) return Effect.as(this.#seal(session, handled), new NotRun<B | O>(handled))
    return Effect.matchEffect(session.turn, {
      onFailure: (error): Effect.Effect<undefined, E> => {
        session.held.source.reports.once("storeErrors")
        if (this.#once.whenStoreFails === "run") return Effect.succeed(undefined)
        session.letGo()
        return this.#once.fail(error)
      },
      onSuccess: (begun): Effect.Effect<NotRun<B | O> | undefined, E, R> =>
        begun._tag === "Claimed" ? Effect.succeed(undefined) : this.#known(session, begun)
    })
  }

  #known(session: Session<B>, known: Known): Effect.Effect<NotRun<O>, E, R> {
    const { claim, fingerprint, held } = session
    if (known.fingerprint !== undefined && fingerprint !== undefined && known.fingerprint !== fingerprint) {
      held.source.reports.once("keysReused")
      return this.#once.fail(keyReused(claim.key))
    }
    if (known._tag === "Busy") {
      held.source.reports.once("waitedForClaim")
      const left = Math.ceil(Duration.toMillis(known.endsIn))
      return Effect.succeed(new NotRun<O>([], Math.max(shortestWait, Math.min(left, longestWait))))
    }
    held.source.reports.once("doneAlready")
    return Effect.map(kept(this.#once, claim.key, known.result), (result) => new NotRun(Option.toArray(result)))
  }

  /** Keeps that it is done, and what has come of it. Nothing interrupts it, and it is over in a bounded time. */
  #seal(session: Session<B>, results: ReadonlyArray<B>): Effect.Effect<void, E, R> {
    session.handled = results
    const { claim, fingerprint, fork, held } = session
    const { keepFor, whenStoreFails } = this.#once
    return toKeep(this.#once, claim.key, results, this.#calls.resultBytes).pipe(
      Effect.flatMap((result) => seal(this.#calls, { ...claim, fingerprint, result, keepFor }, fork)),
      Effect.map(() => {
        session.sealed = true
      }),
      Effect.catchAll((error) => {
        held.source.reports.once("storeErrors")
        return whenStoreFails === "run" ? Effect.void : this.#once.fail(error)
      })
    )
  }
}

/** One guard for a stage's run. */
export const guard = <A, B, O, E, R>(once: Once<A, B, O, E, R>): Effect.Effect<Guard<A, B, O, E, R>, never, R> =>
  Effect.gen(function* () {
    return new OnceGuard(once, new Calls(yield* once.store, once.callTimeout), yield* owners)
  })
