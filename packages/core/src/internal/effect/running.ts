/**
 * What runs a handler, as those who wait for its end or stop it see it: a fiber, or what needs none. A fiber costs more than
 * all the rest of a message, so a handler that is done already has none, and neither has one that waits for a promise.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Exit from "effect/Exit"
import type * as FiberId from "effect/FiberId"

/** A fiber is one. */
export interface Running<out A, out E> {
  /** Calls back when it ends, or at once where it has. */
  readonly addObserver: (f: (exit: Exit.Exit<A, E>) => void) => void
  /** Does not wait for its end. */
  readonly unsafeInterruptAsFork: (by: FiberId.FiberId) => void
}

class Done<A, E> implements Running<A, E> {
  readonly #exit: Exit.Exit<A, E>

  constructor(exit: Exit.Exit<A, E>) {
    this.#exit = exit
  }

  addObserver(f: (exit: Exit.Exit<A, E>) => void): void {
    f(this.#exit)
  }

  unsafeInterruptAsFork(): void {}
}

/** Begins, and says what runs. */
type Begin<A> = () => A | PromiseLike<A>

class Waiting<A> implements Running<A, unknown> {
  readonly #letGo: (() => void) | undefined
  #exit: Exit.Exit<A, unknown> | undefined
  #observer: ((exit: Exit.Exit<A, unknown>) => void) | undefined

  constructor(begin: Begin<A>, letGo: (() => void) | undefined) {
    this.#letGo = letGo
    try {
      const begun = begin()
      if (!isObject(begun)) this.#end(Exit.succeed(begun))
      // A promise stays the one it is: to follow it with another takes two turns more.
      else Promise.resolve(begun).then(this.#succeed, this.#fail)
    } catch (thrown) {
      this.#end(Exit.fail(thrown))
    }
  }

  readonly #succeed = (value: A) => this.#end(Exit.succeed(value))
  readonly #fail = (error: unknown) => this.#end(Exit.fail(error))

  #end(exit: Exit.Exit<A, unknown>): void {
    if (this.#exit !== undefined) return
    this.#exit = exit
    this.#observer?.(exit)
  }

  /** For one at a time. */
  addObserver(f: (exit: Exit.Exit<A, unknown>) => void): void {
    if (this.#exit === undefined) this.#observer = f
    else f(this.#exit)
  }

  /** Like a fiber, it ends in a turn of its own: who interrupts is not called back from within. */
  unsafeInterruptAsFork(by: FiberId.FiberId): void {
    // A promise, and not `queueMicrotask`: jest's fake timers hold that up.
    Promise.resolve().then(() => {
      if (this.#exit === undefined) this.#end(Exit.failCause(this.#interrupted(by)))
    })
  }

  /** What is told may throw: it has ended all the same, as a fiber whose finalizer dies. */
  #interrupted(by: FiberId.FiberId): Cause.Cause<never> {
    const interrupted = Cause.interrupt(by)
    try {
      this.#letGo?.()
      return interrupted
    } catch (thrown) {
      return Cause.sequential(interrupted, Cause.die(thrown))
    }
  }
}

/** What may be a promise. */
const isObject = <A>(begun: A | PromiseLike<A>): begun is PromiseLike<A> =>
  (typeof begun === "object" && begun !== null) || typeof begun === "function"

/** As an Effect among others it waits in their fiber. */
class Promised<A> extends Effectable.Class<A, unknown> {
  readonly #begin: Begin<A>
  readonly #letGo: (() => void) | undefined

  constructor(begin: Begin<A>, letGo: (() => void) | undefined) {
    super()
    this.#begin = begin
    this.#letGo = letGo
  }

  begin(): Running<A, unknown> {
    return new Waiting(this.#begin, this.#letGo)
  }

  commit(): Effect.Effect<A, unknown> {
    return Effect.async((resume) => {
      new Waiting(this.#begin, undefined).addObserver(resume)
      return Effect.sync(() => this.#letGo?.())
    })
  }
}

export const promised = <A>(begin: Begin<A>, letGo: (() => void) | undefined): Effect.Effect<A, unknown> =>
  new Promised(begin, letGo)

interface Fiberless<A, E> {
  readonly begin: () => Running<A, E>
}

const isPromised = <A, E, R>(effect: Effect.Effect<A, E, R>): effect is Effect.Effect<A, E, R> & Fiberless<A, E> =>
  effect instanceof Promised

const isSuccess = <A, E, R>(effect: Effect.Effect<A, E, R>): effect is Effect.Effect<A, E, R> & Exit.Success<A, E> =>
  Exit.isExit(effect) && Exit.isSuccess(effect)

/** Begins an effect that needs no fiber. */
export const withoutFiber = <A, E, R>(effect: Effect.Effect<A, E, R>): Running<A, E> | undefined => {
  if (isPromised(effect)) return effect.begin()
  return isSuccess(effect) ? new Done<A, E>(Exit.succeed(effect.value)) : undefined
}
