/**
 * What a package's options must do, whoever calls it: JavaScript and configurations hear of a mistake as TypeScript does.
 * Each package has a table of all of its objects of options, and an interface without a row in it fails.
 */
import { readdirSync, readFileSync } from "node:fs"
import { basename, join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Cause, Effect, Exit, type Layer, Predicate, Schedule, type Scope } from "effect"

export interface Row<R> {
  readonly what: string
  /** The interfaces that it stands for, as `File.Interface`. */
  readonly of?: ReadonlyArray<string> | undefined
  /** All of its options. */
  readonly names: ReadonlyArray<string>
  /** What it needs at least. Default: nothing. */
  readonly least?: object | undefined
  /** Those of `names` that may be any text, or an object of any texts. */
  readonly free?: ReadonlyArray<string> | undefined
  /** Those that may be anything at all. */
  readonly anything?: ReadonlyArray<string> | undefined
  readonly use: (options: never) => Effect.Effect<unknown, unknown, R | Scope.Scope>
}

/** The errors that refuse what was given. */
const refusals = new Set([
  "InvalidOptions",
  "InvalidEmulatorOptions",
  "InvalidQueue",
  "InvalidOptionsError",
  "SendError"
])

/** As JavaScript gives them: no type says what they are. */
const asGiven = (options: unknown): never => options as never

interface Ended {
  /** The refusal, whether it is a failure or was thrown. */
  readonly refused: Error | undefined
  /** What else it died of. */
  readonly died: unknown
}

const ended = <R>(use: Row<R>["use"], options: unknown): Effect.Effect<Ended, never, Exclude<R, Scope.Scope>> =>
  Effect.map(Effect.exit(Effect.scoped(Effect.suspend(() => use(asGiven(options))))), (exit) => {
    const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
    const refused = error instanceof Error && refusals.has(error.name) ? error : undefined
    const died = refused === undefined && Exit.isFailure(exit) && Cause.isDie(exit.cause)
    return { refused, died: died ? error : undefined }
  })

/** What the refusal says, whether it is a failure or was thrown; nothing where the options were taken. */
export const refusalOf = <R>(
  use: Row<R>["use"],
  options: unknown
): Effect.Effect<string | undefined, never, Exclude<R, Scope.Scope>> =>
  Effect.map(ended(use, options), ({ refused }) => refused?.message)

/** Whether it is this option that the refusal is for: by the error's own word, else by the text's. */
const blames = (refused: Error | undefined, name: string): boolean =>
  refused !== undefined &&
  ("option" in refused && typeof refused.option === "string" ? refused.option : refused.message).search(
    new RegExp(`\\b${name}\\b`)
  ) >= 0

/** Another way to write it, as a slip of the finger would: `maxInflight`, `everi`. */
const misspelt = (name: string) => {
  const lower = name.toLowerCase()
  return lower === name ? `${name}x` : lower
}

const wrongValues = [null, Symbol("x"), { nothing: "of this" }, "nothing of this", -1, Number.NaN, [null]]

/** The tests of each row. */
export const testRows = <R>(rows: ReadonlyArray<Row<R>>, services: Layer.Layer<R>): void => {
  for (const { anything = [], free = [], least = {}, names, use, what } of rows) {
    const given = (options: unknown) => refusalOf(use, options)
    const test = (says: string, effect: Effect.Effect<void, never, Exclude<R, Scope.Scope>>) =>
      it.effect(`${what}: ${says}`, () => Effect.scoped(Effect.provide(effect, services) as Effect.Effect<void>))

    test(
      "is made with what it needs at least",
      Effect.map(ended(use, least), ({ died, refused }) => {
        assert.strictEqual(refused?.message, undefined)
        assert.strictEqual(died, undefined)
      })
    )
    test(
      "a name that is not there is refused, and the one that was meant is told",
      Effect.gen(function* () {
        const listed = (yield* given({ ...least, somethingElseAltogether: 1 })) ?? ""
        const known = /; there are (.*)$/.exec(listed)?.[1]?.split(", ") ?? []
        assert.deepStrictEqual(known.sort(), [...names].sort())
        for (const name of names) {
          const refused = yield* given({ ...least, [misspelt(name)]: undefined })
          assert.include(refused, `${name}?`)
          assert.include(refused, "did you mean ")
        }
      })
    )
    test(
      "values of no type that it can have are refused, by its name",
      Effect.gen(function* () {
        for (const name of names) {
          if (anything.includes(name)) continue
          for (const value of wrongValues) {
            const texts = typeof value === "string" || (Predicate.isRecord(value) && value["nothing"] !== undefined)
            if (texts && (name === "name" || free.includes(name))) continue
            const { refused } = yield* ended(use, { ...least, [name]: value })
            assert.isTrue(blames(refused, name), `${name}: ${String(value)}: ${refused?.message}`)
            assert.match(refused?.message ?? "", / ([wW]rite|there are|did you mean) /, `${name}: ${String(value)}`)
          }
        }
      })
    )
    test(
      "options that are no object are refused",
      Effect.gen(function* () {
        for (const value of [null, 5, "fast", [1], Effect.void, Schedule.forever]) {
          assert.match((yield* given(value)) ?? "", /options of .* are |is .*; write /, String(value))
        }
      })
    )
  }
}

/** The interfaces of options in a package's sources, as `File.Interface`. */
const declaredIn = (sources: string): ReadonlyArray<string> =>
  readdirSync(sources, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .flatMap((file) =>
      [...readFileSync(join(sources, file), "utf8").matchAll(/^export interface (\w*Options)\b/gm)].map(
        ([, name]) => `${basename(file, ".ts")}.${name}`
      )
    )

/** That none of the interfaces in the sources is without a row. `machinery` are those that no user writes. */
export const testCoverage = (
  sources: string,
  rows: ReadonlyArray<Pick<Row<never>, "of">>,
  machinery: ReadonlyArray<string> = []
): void => {
  it("has a row for each interface of options in the sources", () => {
    const known = new Set([...rows.flatMap(({ of = [] }) => of), ...machinery])
    const declared = declaredIn(sources)
    assert.deepStrictEqual(
      declared.filter((name) => !known.has(name)),
      []
    )
    assert.deepStrictEqual(
      [...known].filter((name) => !declared.includes(name)),
      []
    )
  })
}
