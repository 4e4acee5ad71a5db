/**
 * An `IdempotencyStore` in a DynamoDB table of the form that Powertools for AWS Lambda uses for its idempotency: the same
 * attributes, statuses and expiry. Lambdas and consumers share keys that way.
 *
 * DynamoDB has no clock that an expression can name. The time is the service's all the same: read off the `Date` of its
 * answers, where the clock of this machine differs by more than two seconds.
 */
import {
  type AttributeValue,
  ConditionalCheckFailedException,
  DeleteItemCommand,
  type DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  UpdateItemCommand
} from "@aws-sdk/client-dynamodb"
import {
  type Begun,
  type Claim,
  IdempotencyStore,
  IdempotencyStoreError,
  type Known,
  type Operation,
  type Service
} from "@millrace/core/IdempotencyStore"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Native from "./internal/native.js"

export interface Options {
  readonly client: DynamoDBClient
  readonly table: string
  /** The attribute of the key. Default: `id`. */
  readonly keyAttribute?: string | undefined
  /**
   * How results stand in `data`: as JSON text, as Powertools for Python and Java keep them (the default), or as DynamoDB's
   * own maps, lists and numbers, as Powertools for TypeScript does.
   */
  readonly data?: "json" | "native" | undefined
}

const checks: InvalidOptions.Checks<Options> = {
  client: InvalidOptions.required(InvalidOptions.having("a DynamoDBClient of @aws-sdk/client-dynamodb", "send")),
  table: InvalidOptions.required(InvalidOptions.text),
  keyAttribute: InvalidOptions.text,
  data: InvalidOptions.oneOf("json", "native")
}

type Item = Readonly<Record<string, AttributeValue>>

// Powertools' names, and two of our own that it leaves alone.
const status = "status"
const data = "data"
const expiration = "expiration"
const inProgressExpiration = "in_progress_expiration"
const owner = "millrace_owner"
const fingerprint = "millrace_fingerprint"

const names = {
  "#status": status,
  "#expiration": expiration,
  "#until": inProgressExpiration,
  "#owner": owner
}

/** Nearer than this the machine's own clock is the better one: `Date` has whole seconds. In milliseconds. */
const tolerance = 2000

/** What the service's clock shows. */
class ServiceClock {
  readonly #clock: Clock.Clock
  #offset = 0

  constructor(clock: Clock.Clock, client: DynamoDBClient) {
    this.#clock = clock
    client.middlewareStack.add(
      (next) => async (args) => {
        const sentAt = clock.unsafeCurrentTimeMillis()
        const result = await next(args)
        const date = dateOf(result.response)
        if (date !== undefined) {
          const offset = date + 500 - (sentAt + clock.unsafeCurrentTimeMillis()) / 2
          this.#offset = Math.abs(offset) > tolerance ? offset : 0
        }
        return result
      },
      { step: "deserialize", priority: "low" }
    )
  }

  now(): number {
    return this.#clock.unsafeCurrentTimeMillis() + this.#offset
  }
}

const dateOf = (response: unknown): number | undefined => {
  if (typeof response !== "object" || response === null || !("headers" in response)) return undefined
  const { headers } = response
  if (typeof headers !== "object" || headers === null || !("date" in headers)) return undefined
  const date = Date.parse(String(headers.date))
  return Number.isNaN(date) ? undefined : date
}

const seconds = (millis: number): AttributeValue => ({ N: String(Math.ceil(millis / 1000)) })
const number = (value: AttributeValue | undefined): number => Number(value?.N ?? Number.NaN)

/** Errors that no second try mends. */
const fatal = new Set([
  "ResourceNotFoundException",
  "AccessDeniedException",
  "UnrecognizedClientException",
  "ValidationException",
  "InvalidSignatureException",
  "ExpiredTokenException"
])

const failure =
  (operation: Operation, table: string) =>
  (cause: unknown): IdempotencyStoreError => {
    const name = cause instanceof Error ? cause.name : ""
    const text = cause instanceof Error ? cause.message : String(cause)
    const what =
      name === "ResourceNotFoundException"
        ? `there is no table ${table}: make it with a partition key "id" of type S, and time to live on "${expiration}" (${text})`
        : name === ""
          ? text
          : `${name}: ${text}`
    return new IdempotencyStoreError({ operation, retryable: !fatal.has(name), message: what, cause })
  }

/**
 * Checks that the table is there, with one read. Fails with `IdempotencyStoreError` where it is not, and with
 * `InvalidOptions` where an option cannot work.
 */
export const make = (options: Options): Effect.Effect<Service, IdempotencyStoreError | InvalidOptions.InvalidOptions> =>
  Effect.gen(function* () {
    yield* InvalidOptions.check("DynamoDbIdempotencyStore", options, checks)
    const { client, data: form = "json", keyAttribute = "id", table } = options
    const clock = new ServiceClock(yield* Effect.clock, client)

    const call = <A>(operation: Operation, send: (signal: AbortSignal) => Promise<A>) =>
      Effect.tryPromise({ try: send, catch: failure(operation, table) })

    /** Whether its condition held; the item as it was where it did not. */
    const conditional = (operation: Operation, send: (signal: AbortSignal) => Promise<unknown>) =>
      call(operation, async (signal) => {
        try {
          await send(signal)
          return true
        } catch (error) {
          if (error instanceof ConditionalCheckFailedException) return false
          throw error
        }
      })

    const keyOf = (key: string) => ({ [keyAttribute]: { S: key } })

    const read = (operation: Operation, key: string): Effect.Effect<Option.Option<Known>, IdempotencyStoreError> =>
      Effect.map(
        call(operation, (abortSignal) =>
          client.send(new GetItemCommand({ TableName: table, Key: keyOf(key), ConsistentRead: true }), { abortSignal })
        ),
        ({ Item }) => (Item === undefined ? Option.none() : known(Item, clock.now()))
      )

    const known = (item: Item, now: number): Option.Option<Known> => {
      const until = number(item[expiration]) * 1000
      const print = item[fingerprint]?.S
      if (until <= now) return Option.none()
      if (item[status]?.S === "COMPLETED") {
        return Option.some({ _tag: "Done", result: Native.read(item[data], form), fingerprint: print })
      }
      const claimed = number(item[inProgressExpiration])
      const endsIn = (Number.isNaN(claimed) ? until : claimed) - now
      return endsIn <= 0
        ? Option.none()
        : Option.some({ _tag: "Busy", endsIn: Duration.millis(endsIn), fingerprint: print })
    }

    const times = () => {
      const now = clock.now()
      return {
        ":seconds": { N: String(now / 1000) },
        ":now": { N: String(Math.floor(now)) },
        ":inprogress": { S: "INPROGRESS" }
      }
    }
    const over = "#expiration <= :seconds OR (#status = :inprogress AND #until <= :now)"

    const begin = (
      entry: Parameters<Service["begin"]>[0][number],
      tries = 3
    ): Effect.Effect<Begun, IdempotencyStoreError> =>
      Effect.gen(function* () {
        const until = clock.now() + Duration.toMillis(entry.holdFor)
        const claimed = yield* conditional("begin", (abortSignal) =>
          client.send(
            new PutItemCommand({
              TableName: table,
              Item: {
                ...keyOf(entry.key),
                [status]: { S: "INPROGRESS" },
                [expiration]: seconds(until + 1000),
                [inProgressExpiration]: { N: String(Math.ceil(until)) },
                [owner]: { S: entry.owner },
                ...(entry.fingerprint === undefined ? {} : { [fingerprint]: { S: entry.fingerprint } })
              },
              ConditionExpression: `attribute_not_exists(#key) OR ${over} OR (#status = :inprogress AND #owner = :owner)`,
              ExpressionAttributeNames: { ...names, "#key": keyAttribute },
              ExpressionAttributeValues: { ...times(), ":owner": { S: entry.owner } }
            }),
            { abortSignal }
          )
        )
        if (claimed) return { _tag: "Claimed" }
        const found = yield* read("begin", entry.key)
        if (Option.isSome(found)) return found.value
        // Let go between the two looks.
        return tries > 0
          ? yield* begin(entry, tries - 1)
          : { _tag: "Busy", endsIn: Duration.millis(1), fingerprint: undefined }
      })

    const extend = ({ holdFor, key, owner: by }: Claim & { readonly holdFor: Duration.Duration }) =>
      conditional("extend", (abortSignal) => {
        const until = clock.now() + Duration.toMillis(holdFor)
        return client.send(
          new UpdateItemCommand({
            TableName: table,
            Key: keyOf(key),
            UpdateExpression: "SET #until = :until, #expiration = :expiration",
            ConditionExpression: "#owner = :owner AND #status = :inprogress",
            ExpressionAttributeNames: names,
            ExpressionAttributeValues: {
              ":until": { N: String(Math.ceil(until)) },
              ":expiration": seconds(until + 1000),
              ":owner": { S: by },
              ":inprogress": { S: "INPROGRESS" }
            }
          }),
          { abortSignal }
        )
      })

    const complete = (entry: Parameters<Service["complete"]>[0][number]) =>
      conditional("complete", (abortSignal) =>
        client.send(
          new PutItemCommand({
            TableName: table,
            Item: {
              ...keyOf(entry.key),
              [status]: { S: "COMPLETED" },
              [expiration]: seconds(clock.now() + Duration.toMillis(entry.keepFor)),
              [owner]: { S: entry.owner },
              ...(entry.fingerprint === undefined ? {} : { [fingerprint]: { S: entry.fingerprint } }),
              ...Native.write(data, entry.result, form)
            },
            ConditionExpression: `attribute_not_exists(#key) OR #owner = :owner OR ${over}`,
            ExpressionAttributeNames: { ...names, "#key": keyAttribute },
            ExpressionAttributeValues: { ...times(), ":owner": { S: entry.owner } }
          }),
          { abortSignal }
        )
      )

    const abandon = ({ key, owner: by }: Claim) =>
      conditional("abandon", (abortSignal) =>
        client.send(
          new DeleteItemCommand({
            TableName: table,
            Key: keyOf(key),
            ConditionExpression: "#owner = :owner AND #status = :inprogress",
            ExpressionAttributeNames: { "#owner": owner, "#status": status },
            ExpressionAttributeValues: { ":owner": { S: by }, ":inprogress": { S: "INPROGRESS" } }
          }),
          { abortSignal }
        )
      )

    const each = <E, A>(entries: ReadonlyArray<E>, f: (entry: E) => Effect.Effect<A, IdempotencyStoreError>) =>
      Effect.forEach(entries, f, { concurrency: 25 })

    // The service's clock is known from the first answer on, whatever this machine's shows.
    yield* read("open", "millrace: is the table there?")
    return {
      limits: { batchSize: 25, resultBytes: 390_000 },
      begin: (entries) => each(entries, (entry) => begin(entry)),
      extend: (entries) => each(entries, extend),
      complete: (entries) => each(entries, complete),
      abandon: (claims) => Effect.asVoid(each(claims, abandon)),
      lookUp: (key) => read("lookUp", key)
    } satisfies Service
  })

/** The store as a service. */
export const layer = (
  options: Options
): Layer.Layer<IdempotencyStore, IdempotencyStoreError | InvalidOptions.InvalidOptions> =>
  Layer.effect(IdempotencyStore, make(options))
