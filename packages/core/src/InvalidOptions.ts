/**
 * Options are checked once, when what they are for is made: their names, types and values, so that plain JavaScript and
 * configurations hear of a mistake as TypeScript does.
 *
 * What an object of options may hold is said by a record with a `Check` for each of its names, which the compiler keeps
 * complete. (A Schema would say it too, but tells what is wrong as a tree of types and not as what to write instead, and
 * its import takes 160 ms, which nothing else here needs.) Where the module is of use without what the record is for, a
 * function makes it, so that a bundle that has no use for the one is without the other.
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"

/** An option cannot work. The message says what to write instead. */
export class InvalidOptions extends Data.TaggedError("InvalidOptions")<{
  readonly option: string
  readonly message: string
}> {}

/** What one option may be. `undefined` always may, and is the default, unless the check is `required`. */
export interface Check {
  /** What to write, such as `a whole number of at least 1`. */
  readonly write: string
  readonly fits: (value: unknown) => boolean
  /** Looks inside a value that fits. */
  readonly inside?: ((option: string, value: unknown) => InvalidOptions | undefined) | undefined
  readonly required?: boolean | undefined
  /** What a bare number counts, such as `milliseconds`. */
  readonly unit?: string | undefined
  /** What is given for it is not shown. */
  readonly secret?: boolean | undefined
}

/** A check for each option: one that is new and has none does not compile. */
export type Checks<O> = { readonly [Name in keyof O]-?: Check }

/**
 * Refuses options of names that are not there, with the one that may have been meant, and of values that do not fit.
 * `of` is what the options are of, as in "an option of SqsConsumer"; `path` goes before their names, where one of many
 * such objects is meant.
 */
export const check = <O extends object>(
  of: string,
  options: O,
  checks: Checks<NoInfer<O>>,
  path = ""
): Effect.Effect<void, InvalidOptions> => problemOf(of, options, checks, path) ?? Effect.void

/** Those of the options that have a check, to be handed on to what knows no others. */
export const only = <O extends object>(checks: Checks<O>, options: O): O => {
  const known: O = { ...options }
  for (const name of Object.keys(known)) if (!Object.hasOwn(checks, name)) Reflect.deleteProperty(known, name)
  return known
}

/** The same as `check` for what is made without an effect: throws the `InvalidOptions`. */
export const checkOrThrow = <O extends object>(of: string, options: O, checks: Checks<NoInfer<O>>): void => {
  const problem = problemOf(of, options, checks)
  if (problem !== undefined) throw problem
}

/** Refuses a value that is not among options, such as a first argument. */
export const argument = (name: string, value: unknown, one: Check): Effect.Effect<void, InvalidOptions> =>
  problemWith(name, value, { ...one, required: true }) ?? Effect.void

const problemOf = (
  of: string,
  options: unknown,
  checks: Readonly<Record<string, Check>>,
  path = ""
): InvalidOptions | undefined =>
  fitsRecord(options)
    ? problemIn(`an option of ${of}`, path, options, checks)
    : new InvalidOptions({ option: "options", message: `the options of ${of} are ${show(options)}; write an object` })

const problemIn = (
  what: string,
  path: string,
  options: Readonly<Record<string, unknown>>,
  checks: Readonly<Record<string, Check>>
): InvalidOptions | undefined => {
  const names = Object.keys(checks)
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(checks, name)) continue
    const meant = nearest(name, names)
    const instead = meant === undefined ? `there are ${names.join(", ")}` : `did you mean ${path}${meant}?`
    return new InvalidOptions({
      option: `${path}${name}`,
      message: `${path}${name} is not ${what}; ${instead}`
    })
  }
  for (const name of names) {
    const one = checks[name]
    const problem = one && problemWith(`${path}${name}`, options[name], one)
    if (problem !== undefined) return problem
  }
  return undefined
}

const problemWith = (option: string, value: unknown, one: Check): InvalidOptions | undefined => {
  if (value === undefined && one.required !== true) return undefined
  return value !== undefined && one.fits(value) ? one.inside?.(option, value) : refusal(option, value, one)
}

const refusal = (option: string, value: unknown, { secret, unit, write }: Check): InvalidOptions => {
  const given =
    secret === true
      ? "of a type that it cannot have"
      : typeof value === "number" && unit !== undefined
        ? `${value} ${unit}`
        : show(value)
  return new InvalidOptions({
    option,
    message: `${option} is ${value === undefined ? "missing" : given}; write ${write}`
  })
}

/** As it may be shown: what others may have put into an object stays there. */
const show = (value: unknown): string => {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value)
    case "function":
      return "a function"
    case "object":
      if (value === null) return "null"
      if (Duration.isDuration(value)) return Duration.format(value)
      if (Schedule.isSchedule(value)) return "a Schedule"
      if (Effect.isEffect(value)) return "an Effect"
      if (Redacted.isRedacted(value)) return "a Redacted"
      return Array.isArray(value) ? "an array" : "an object"
    default:
      return String(value)
  }
}

const plain = (name: string): string => name.replace(/[^a-z0-9]/gi, "").toLowerCase()

/** The name that may have been meant: the same but for case and punctuation, or with a few letters changed. */
const nearest = (name: string, names: ReadonlyArray<string>): string | undefined => {
  let best: string | undefined
  let least = Math.max(2, Math.floor(name.length / 3)) + 1
  for (const known of names) {
    const distance = distanceOf(plain(name), plain(known))
    if (distance < least) {
      least = distance
      best = known
    }
  }
  return best
}

/** Letters to insert, drop or change (Levenshtein). Names that are far too long are far away. */
const distanceOf = (a: string, b: string): number => {
  if (a.length > 40) return Infinity
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}

// ----------------------------------------------------------------------------------------------------------- checks

const fitsRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  Predicate.isRecord(value) && !Effect.isEffect(value) && !Schedule.isSchedule(value)

/** What `Tunable.from` checks. */
export const checkedBelow: Check = { write: "", fits: () => true }

export const required = (one: Check): Check => ({ ...one, required: true })

export const text: Check = {
  write: "a text that is not empty",
  fits: (value) => typeof value === "string" && value !== ""
}

export const anyText: Check = { write: "a text", fits: Predicate.isString }

export const flag: Check = { write: "true or false", fits: Predicate.isBoolean }

export const func: Check = { write: "a function", fits: Predicate.isFunction }

export const effect: Check = { write: "an Effect", fits: Effect.isEffect }

export const schedule: Check = {
  write: 'a Schedule, such as Schedule.exponential("1 second")',
  fits: Schedule.isSchedule
}

export const schema: Check = { write: "a Schema, such as Schema.String", fits: Schema.isSchema }

export const redacted: Check = {
  write: "a Redacted, such as Redacted.make(secret) or one of Config.redacted",
  fits: Redacted.isRedacted,
  secret: true
}

/** Of http or https, without a query. */
export const url: Check = {
  write: 'a URL such as "http://localhost:4566"',
  fits: (value) => typeof value === "string" && /^https?:[^?#]*$/i.test(value) && URL.canParse(value)
}

export const oneOf = (...values: ReadonlyArray<string>): Check => ({
  write: values.map((value) => JSON.stringify(value)).join(" or "),
  fits: (value) => typeof value === "string" && values.includes(value)
})

/** What has these members, such as a service or a handle. `write` says where it comes from. */
export const having = (write: string, ...members: ReadonlyArray<string>): Check => ({
  write,
  fits: (value) => Predicate.isRecord(value) && members.every((member) => member in value)
})

export const either = (first: Check, ...others: ReadonlyArray<Check>): Check => {
  const all = [first, ...others]
  return {
    write: all.map(({ write }) => write).join(", or "),
    fits: (value) => all.some(({ fits }) => fits(value)),
    inside: (option, value) => all.find(({ fits }) => fits(value))?.inside?.(option, value)
  }
}

export const list = (one: Check): Check => ({
  write: `an array, of ${one.write} each`,
  fits: Array.isArray,
  inside: (option, value) => {
    if (!Array.isArray(value)) return undefined
    for (const [i, item] of value.entries()) {
      const problem = problemWith(`${option}[${i}]`, item, required(one))
      if (problem !== undefined) return problem
    }
    return undefined
  }
})

/** Any names, each with such a value. */
export const record = (one: Check): Check => ({
  write: `an object, with ${one.write} for each name`,
  fits: fitsRecord,
  inside: (option, value) => {
    if (!fitsRecord(value)) return undefined
    for (const [name, item] of Object.entries(value)) {
      const problem = problemWith(`${option}.${name}`, item, one)
      if (problem !== undefined) return problem
    }
    return undefined
  }
})

/** Options within an option. */
export const fields = <O extends object>(checks: Checks<O>): Check => {
  const known: Readonly<Record<string, Check>> = checks
  return {
    write: `an object with ${Object.keys(known).join(", ")}`,
    fits: fitsRecord,
    inside: (option, value) =>
      fitsRecord(value) ? problemIn(`an option of ${option}`, `${option}.`, value, known) : undefined
  }
}

// ---------------------------------------------------------------------------------------------- numbers and times

interface Range {
  readonly min: number
  readonly max?: number | undefined
}

const numberCheck = (kind: string, fits: (value: unknown) => boolean, { max, min }: Range): Check => ({
  write: `a ${kind} ${max === undefined ? `of at least ${min}` : `from ${min} to ${max}`}`,
  fits: (value) => typeof value === "number" && fits(value) && value >= min && value <= (max ?? Number.MAX_SAFE_INTEGER)
})

const inRange =
  (kind: string, fits: (value: unknown) => boolean) =>
  (option: string, value: number, range: Range): Effect.Effect<number, InvalidOptions> =>
    problemWith(option, value, required(numberCheck(kind, fits, range))) ?? Effect.succeed(value)

export const wholeNumber = inRange("whole number", Number.isInteger)

export const number = inRange("number", Number.isFinite)

export const aWholeNumber = (range: Range): Check => numberCheck("whole number", Number.isInteger, range)

export const aNumber = (range: Range): Check => numberCheck("number", Number.isFinite, range)

interface TimeRange {
  readonly min?: Duration.DurationInput | undefined
  readonly max?: Duration.DurationInput | undefined
}

/** Effect takes a negative time, and one that is no number, for zero. */
const decodeTime = (value: unknown): Option.Option<Duration.Duration> => {
  const parts = Array.isArray(value) ? value : [value]
  const meant = parts.every((part) =>
    typeof part === "number" ? part >= 0 : typeof part === "bigint" ? part >= 0n : !/^\s*-/.test(String(part))
  )
  return meant ? Duration.decodeUnknown(value) : Option.none()
}

export const time = (range: TimeRange = {}): Check => {
  const min = Duration.decode(range.min ?? 0)
  const max = Duration.decode(range.max ?? Duration.infinity)
  const example = Duration.isFinite(max) ? Duration.toSeconds(max) : Math.max(1, Duration.toSeconds(min))
  return {
    write: `${
      Duration.isFinite(max)
        ? `a time from ${Duration.format(min)} to ${Duration.format(max)}`
        : `a time of at least ${Duration.format(min)}`
    }, such as "${example} seconds"`,
    unit: "milliseconds",
    fits: (value) => {
      const decoded = decodeTime(value)
      return Option.isSome(decoded) && Duration.between(decoded.value, { minimum: min, maximum: max })
    }
  }
}

export const duration = (
  option: string,
  value: Duration.DurationInput,
  range: TimeRange
): Effect.Effect<Duration.Duration, InvalidOptions> => {
  const problem = problemWith(option, value, required(time(range)))
  return problem ?? Effect.sync(() => Duration.decode(value))
}

/**
 * Warns of times below a second that are written as a bare number, where seconds may have been meant: a number is
 * milliseconds.
 */
export const warnOfBareNumbers = (times: {
  readonly [option: string]: Duration.DurationInput | undefined
}): Effect.Effect<void> =>
  Effect.forEach(
    Object.entries(times),
    ([option, value]) =>
      typeof value === "number" && value > 0 && value < 1000
        ? Effect.logWarning(
            `${option} is ${value}, and a number is milliseconds; write "${value} seconds" if seconds are meant, and "${value} millis" if not`
          )
        : Effect.void,
    { discard: true }
  )
