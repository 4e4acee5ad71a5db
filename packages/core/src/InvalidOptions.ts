/**
 * Options are checked once, when the consumer or the stage is made.
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** An option cannot work. The message says what to write instead. */
export class InvalidOptions extends Data.TaggedError("InvalidOptions")<{
  readonly option: string
  readonly message: string
}> {}

const show = (value: unknown): string => (typeof value === "string" ? JSON.stringify(value) : String(value))

interface Range {
  readonly min: number
  readonly max?: number | undefined
}

const inRange = (kind: string, fits: (value: number) => boolean) => (option: string, value: number, range: Range) => {
  const max = range.max ?? Number.MAX_SAFE_INTEGER
  return fits(value) && value >= range.min && value <= max
    ? Effect.succeed(value)
    : new InvalidOptions({
        option,
        message: `${option} is ${show(value)}; write a ${kind} ${
          range.max === undefined ? `of at least ${range.min}` : `from ${range.min} to ${range.max}`
        }`
      })
}

/** @internal */
export const wholeNumber = inRange("whole number", Number.isInteger)

/** @internal */
export const number = inRange("number", Number.isFinite)

/** @internal */
export const duration = (
  option: string,
  value: Duration.DurationInput,
  range: { readonly min?: Duration.DurationInput | undefined; readonly max?: Duration.DurationInput | undefined }
): Effect.Effect<Duration.Duration, InvalidOptions> => {
  const decoded = Duration.decodeUnknown(value)
  const min = Duration.decode(range.min ?? 0)
  const max = Duration.decode(range.max ?? Duration.infinity)
  return decoded._tag === "Some" && Duration.between(decoded.value, { minimum: min, maximum: max })
    ? Effect.succeed(decoded.value)
    : new InvalidOptions({
        option,
        message: `${option} is ${decoded._tag === "Some" ? Duration.format(decoded.value) : show(value)}; write ${
          Duration.isFinite(max)
            ? `a time from ${Duration.format(min)} to ${Duration.format(max)}`
            : `a time of at least ${Duration.format(min)}`
        }, such as "${Duration.isFinite(max) ? Duration.toSeconds(max) : Math.max(1, Duration.toSeconds(min))} seconds"`
      })
}
