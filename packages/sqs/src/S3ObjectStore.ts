/**
 * The object store of `SqsClaimCheck` over Amazon S3, by `@aws-sdk/client-s3`, an optional peer.
 *
 * Not in the package's barrel, so that who keeps nothing in S3 need not install it: import it from
 * `@millrace/sqs/S3ObjectStore`.
 *
 * @example
 * const program = Effect.gen(function* () {
 *   const claimCheck = yield* SqsClaimCheck.make({ bucket: "order-bodies" })
 * }).pipe(Effect.provide(S3ObjectStore.layer()))
 */
import { DeleteObjectCommand, GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { plain } from "./internal/client/credentials.js"
import { withoutNotice } from "./internal/client/withoutNotice.js"
import {
  notFound,
  type ObjectId,
  type ObjectNotFound,
  ObjectStore,
  ObjectStoreError,
  type ObjectTooLarge,
  type Service,
  tooLarge
} from "./ObjectStore.js"
import { type Credentials, credentialsCheck } from "./SqsClient.js"

export interface Options {
  /** Default: as the AWS SDK finds it, such as by `AWS_REGION`. */
  readonly region?: string | undefined
  /** Another S3, such as MinIO's. Default: AWS's of the region. */
  readonly endpoint?: string | undefined
  /** The bucket in the path instead of the host's name, as other servers often want it. Default: false. */
  readonly forcePathStyle?: boolean | undefined
  /** Default: as the AWS SDK finds them. */
  readonly credentials?: Credentials | undefined
  /**
   * The account, of 12 digits, whose the buckets must be: S3 refuses an operation on another's. Default: anyone's that the
   * credentials reach.
   */
  readonly bucketOwner?: string | undefined
  /** Of one operation, its whole body included. Default: 1 minute. */
  readonly timeout?: Duration.DurationInput | undefined
}

/** What does not concern the making of a client. */
type MakeOptions = Pick<Options, "timeout" | "bucketOwner">

const makeChecks: InvalidOptions.Checks<MakeOptions> = {
  bucketOwner: {
    write: "an account of 12 digits",
    fits: (value) => typeof value === "string" && /^\d{12}$/.test(value)
  },
  timeout: InvalidOptions.time({ min: "1 millis" })
}

const checks: InvalidOptions.Checks<Options> = {
  ...makeChecks,
  region: InvalidOptions.text,
  endpoint: InvalidOptions.url,
  forcePathStyle: InvalidOptions.flag,
  credentials: credentialsCheck
}

type Operation = ObjectStoreError["operation"]

const field = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined

const statusOf = (cause: unknown): number | undefined => {
  const status = field(field(cause, "$metadata"), "httpStatusCode")
  return typeof status === "number" ? status : undefined
}

const passing =
  /^(SlowDown|RequestTimeout|RequestThrottled|Throttl\w*|TooManyRequests\w*|InternalError|ServiceUnavailable)$/

/** Where S3 has answered, its word counts; else the network failed. */
const mayPass = (cause: unknown): boolean => {
  const status = statusOf(cause)
  const name = String(field(cause, "name"))
  if (/Credentials|Token|ConfigError/.test(name)) return false
  return status === undefined || status >= 500 || status === 429 || passing.test(name)
}

const said = (cause: unknown): string => {
  const message = String(field(cause, "message") ?? "")
  const name = String(field(cause, "name") ?? "Error")
  return message === "" || message === "UnknownError" ? name : `${name}: ${message}`
}

/** A missing bucket is no missing object: it is there when the name is right. */
const isMissing = (cause: unknown): boolean =>
  statusOf(cause) === 404 && field(cause, "name") !== "NoSuchBucket" && field(cause, "Code") !== "NoSuchBucket"

const utf8 = new TextDecoder()

class TooLarge {
  readonly _tag = "TooLarge"
}

/** Reads no more than it may. */
const textOf = async (body: AsyncIterable<Uint8Array>, maxBytes: number): Promise<string> => {
  const chunks: Array<Uint8Array> = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.length
    if (size > maxBytes) throw new TooLarge()
    chunks.push(chunk)
  }
  return utf8.decode(Buffer.concat(chunks))
}

/** Node's streams are, and so are those of clients over fetch. */
const isChunks = (body: unknown): body is AsyncIterable<Uint8Array> =>
  typeof body === "object" && body !== null && Symbol.asyncIterator in body

/**
 * Over a client of yours; give it `maxAttempts: 1`, since retrying is done here. Fails with `InvalidOptions` where
 * `timeout` is no time.
 */
export const make = (
  client: S3Client,
  options: MakeOptions = {}
): Effect.Effect<Service, InvalidOptions.InvalidOptions> =>
  Effect.gen(function* () {
    yield* InvalidOptions.check("S3ObjectStore.make", options, makeChecks)
    yield* InvalidOptions.warnOfBareNumbers({ timeout: options.timeout })
    const timeout = Duration.decode(options.timeout ?? "1 minute")
    const owned = options.bucketOwner === undefined ? {} : { ExpectedBucketOwner: options.bucketOwner }
    const failed = (operation: Operation, object: ObjectId, cause: unknown) =>
      new ObjectStoreError({
        operation,
        object,
        retryable: mayPass(cause),
        message: `S3 could not ${operation} the object ${object.key} in the bucket ${object.bucket}: ${said(cause)}`,
        cause
      })
    const call = <A>(run: (abortSignal: AbortSignal) => Promise<A>) =>
      Effect.timeoutFail(Effect.tryPromise({ try: run, catch: (cause) => cause }), {
        duration: timeout,
        onTimeout: () => new Error(`no answer in ${Duration.format(timeout)}`)
      })

    const get = (
      object: ObjectId,
      maxBytes: number
    ): Effect.Effect<string, ObjectNotFound | ObjectTooLarge | ObjectStoreError> =>
      call(async (abortSignal) => {
        const input = { ...owned, Bucket: object.bucket, Key: object.key }
        const { Body } = await client.send(new GetObjectCommand(input), { abortSignal })
        if (!isChunks(Body)) throw new Error("the answer has no body")
        return textOf(Body, maxBytes)
      }).pipe(
        Effect.mapError((cause) =>
          cause instanceof TooLarge
            ? tooLarge(object, maxBytes)
            : isMissing(cause)
              ? notFound(object)
              : failed("get", object, cause)
        )
      )

    return {
      put: (object, text) =>
        call((abortSignal) =>
          client.send(
            new PutObjectCommand({
              ...owned,
              Bucket: object.bucket,
              Key: object.key,
              Body: Buffer.from(text),
              ContentType: "text/plain; charset=utf-8"
            }),
            { abortSignal }
          )
        ).pipe(
          Effect.asVoid,
          Effect.mapError((cause) => failed("put", object, cause))
        ),
      get,
      delete: (object) =>
        call((abortSignal) =>
          client.send(new DeleteObjectCommand({ ...owned, Bucket: object.bucket, Key: object.key }), { abortSignal })
        ).pipe(
          Effect.asVoid,
          Effect.mapError((cause) => failed("delete", object, cause))
        )
    }
  })

/** `make` over a client that exists, or that an Effect makes; whoever made it destroys it. */
export const layerFrom = <E = never, R = never>(
  client: S3Client | Effect.Effect<S3Client, E, R>,
  options?: MakeOptions
): Layer.Layer<ObjectStore, E | InvalidOptions.InvalidOptions, R> =>
  Layer.effect(
    ObjectStore,
    Effect.flatMap(Effect.isEffect(client) ? client : Effect.succeed(client), (given) => make(given, options))
  )

/**
 * A client of its own, destroyed with the layer's scope; it sends each operation once. A region that nobody named fails
 * with `InvalidOptions`.
 */
export const layer = (options: Options = {}): Layer.Layer<ObjectStore, InvalidOptions.InvalidOptions> =>
  Layer.scoped(
    ObjectStore,
    Effect.gen(function* () {
      yield* InvalidOptions.check("S3ObjectStore", options, checks)
      const { credentials, endpoint, forcePathStyle, region } = options
      const client = yield* Effect.acquireRelease(
        Effect.sync(() =>
          withoutNotice(
            () =>
              new S3Client({
                ...(region !== undefined && { region }),
                ...(endpoint !== undefined && { endpoint }),
                ...(forcePathStyle !== undefined && { forcePathStyle }),
                ...(credentials && { credentials: plain(credentials) }),
                maxAttempts: 1
              })
          )
        ),
        (client) => Effect.sync(() => client.destroy())
      )
      yield* Effect.tryPromise({
        try: () => client.config.region(),
        catch: () =>
          new InvalidOptions.InvalidOptions({
            option: "region",
            message: `region is ${region === undefined ? "not given: write one, set AWS_REGION, or put it in the profile" : `"${region}"; write one such as "us-east-1"`}`
          })
      })
      return yield* make(client, InvalidOptions.only<MakeOptions>(makeChecks, options))
    })
  )
