/** What a batch handler's answer says of each message: at most one result. The answer is the user's, and reading it may throw. */
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import { attempt } from "./attempt.js"

const noResults =
  "a batch handler answered with something else than an Either for each message: write `Either.right(result)` or `Either.left(error)`, or answer with nothing to ack them all"

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

/** The result of each of so many messages that were asked for. */
export const resultsOf = <B, EI, E>(
  exit: Exit.Exit<ReadonlyArray<Either.Either<B, EI>> | void, E>,
  asked: number
): ReadonlyArray<Exit.Exit<ReadonlyArray<B>, E | EI>> =>
  Array.from({ length: asked }, (_, i) => attempt(() => resultOf(exit, i, asked), Exit.die(new TypeError(noResults))))
