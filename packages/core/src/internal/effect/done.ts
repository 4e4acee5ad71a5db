import * as Effect from "effect/Effect"
import * as Either from "effect/Either"

/** An Effect that is done already: an Either is one, and needs no fiber. */
export const isDone = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): effect is Effect.Effect<A, E, R> & Either.Either<A, E> => Either.isEither(effect)

/** What is done stays so. */
export const map = <A, B, E, R>(effect: Effect.Effect<A, E, R>, f: (value: A) => B): Effect.Effect<B, E, R> =>
  isDone(effect) ? Either.map<A, E, B>(effect, f) : Effect.map(effect, f)
