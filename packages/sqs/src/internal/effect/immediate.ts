/**
 * In Effect 3 an `Either` is an Effect, so that what is there already costs no turn: a codec answers with one, and no
 * fiber waits for it.
 */
import type * as Effect from "effect/Effect"
import * as Either from "effect/Either"

const isEither = <B, E>(effect: Effect.Effect<B, E>): effect is Effect.Effect<B, E> & Either.Either<B, E> =>
  Either.isEither(effect)
/** The result, where the Effect has it already. */
export const immediate = <B, E>(effect: Effect.Effect<B, E>): Either.Either<B, E> | undefined =>
  isEither(effect) ? effect : undefined
