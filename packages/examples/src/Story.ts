/** How a story is told: played in virtual time, printed, and written as a page. */
import { writeFile } from "node:fs/promises"
import { resolve } from "node:path"
import { parseArgs } from "node:util"
import { Simulation } from "@millrace/core/testing"
import { Console, Data, Effect, type Scope } from "effect"
import * as Cli from "./Cli.js"

export class CannotWrite extends Data.TaggedError("CannotWrite")<{ readonly message: string }> {}

/** Writes a file and says where it is. */
export const write = (what: string, file: string, text: string) =>
  Effect.tryPromise({
    try: () => writeFile(file, text),
    catch: (cause) =>
      new CannotWrite({ message: `${file} cannot be written: ${cause instanceof Error ? cause.message : cause}` })
  }).pipe(Effect.zipRight(Console.log(`${what}: ${file}`)))

/** Writes the page and says where it is. */
export const writePage = (file: string, html: string) => write("The charts", file, html)

/** The same each time. */
export const simulated = <A, E>(play: Effect.Effect<A, E, Scope.Scope>) =>
  Effect.suspend(() => Simulation.run(1, play, { order: "fifo" }).exit)

export const usage = (name: string, what: string) => `Usage: npm run ${name} -- [options]

${what}

  --out <file>  where the page goes (default ${name}.html)
  --help        this text`

/** The program of a story: `tell` gives what is printed, the page and, where not 0, the exit code. */
export const program = <E extends { readonly message: string }>(
  name: string,
  what: string,
  tell: Effect.Effect<{ readonly text: string; readonly html: string; readonly code?: number }, E>
) => {
  const read = Effect.try({
    try: () =>
      parseArgs({
        options: { out: { type: "string", default: `${name}.html` }, help: { type: "boolean", default: false } }
      }).values,
    catch: (cause) => new Cli.BadArguments({ message: cause instanceof Error ? cause.message : String(cause) })
  })
  const main = Effect.gen(function* () {
    const options = yield* read
    if (options.help) return yield* Effect.as(Console.log(usage(name, what)), 0)
    const { code = 0, html, text } = yield* tell
    yield* Console.log(text)
    yield* writePage(resolve(options.out), html)
    return code
  })
  return Cli.exitWith(main, usage(name, what))
}
