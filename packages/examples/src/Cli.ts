/** How the programs end: with an exit code, and a message where something is wrong. */
import type { Teardown } from "@effect/platform/Runtime"
import { Console, Data, Effect, Exit } from "effect"

/** The arguments ask for something that there is not. */
export class BadArguments extends Data.TaggedError("BadArguments")<{ readonly message: string }> {}

/** The program's own exit code; 2 for bad arguments, 1 for what else goes wrong. */
export const exitWith = <E extends { readonly message: string }, R>(
  program: Effect.Effect<number, E | BadArguments, R>,
  usage: string
): Effect.Effect<number, never, R> =>
  program.pipe(
    Effect.catchAll((error) =>
      error instanceof BadArguments
        ? Effect.as(Console.error(`${error.message}\n\n${usage}`), 2)
        : Effect.as(Console.error(error.message), 1)
    ),
    Effect.onInterrupt(() => Console.error("\nInterrupted."))
  )

export const teardown: Teardown = (exit, onExit) =>
  onExit(Exit.isSuccess(exit) ? (typeof exit.value === "number" ? exit.value : 0) : Exit.isInterrupted(exit) ? 130 : 1)
