/**
 * How a body is written for its way through the queue: compressed, say. Attributes of the message tell the consumer,
 * whose decode stages then open the body by themselves.
 *
 * @example
 * const orders = yield* SqsProducer.make("orders", { encoding: yield* SqsEncoding.gzip() })
 * SqsConsumer.stream("orders").pipe(Pipeline.decodeJson(Order)) // opens what is compressed
 */
import { gunzipSync, gzipSync } from "node:zlib"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import type * as LeaseQueue from "@millrace/core/LeaseQueue"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"

/** From a text to one that SQS takes, and back. */
export interface Encoding {
  /** They tell the consumer: a message that has them all, with these values, was written so. At least one. */
  readonly attributes: Readonly<Record<string, string | number>>
  /** `undefined` leaves the text as it is, without the attributes. */
  readonly encode: (text: string) => string | undefined
  /** A left says what is wrong with the body, in a few words that may be logged. */
  readonly decode: (body: string) => Either.Either<string, string>
}

export interface GzipOptions {
  /** Producer: texts of fewer bytes are sent as they are. Default: 1,024; less is hardly made smaller. */
  readonly above?: number | undefined
  /** Producer: zlib's level, 1 (quick) to 9 (small). Default: 6. */
  readonly level?: number | undefined
  /**
   * Consumer: a body that becomes larger is not opened any further and fails, so that a few bytes cannot fill the
   * memory. Default: 16 MiB.
   */
  readonly maxBytes?: number | undefined
}

const defaultMaxBytes = 16 * 1_048_576

const isTooLarge = (error: unknown): boolean =>
  error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE"

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const gunzip = (body: string, maxOutputLength: number): Either.Either<string, string> =>
  Either.try({
    try: () => utf8.decode(gunzipSync(Buffer.from(body, "base64"), { maxOutputLength })),
    catch: (error) =>
      isTooLarge(error)
        ? `it is compressed and becomes more than ${maxOutputLength} bytes; a larger maxBytes of SqsEncoding.gzip opens it`
        : "its attributes say that it is text in gzip and base64, and it is not"
  })

const encoding = (above: number, level: number, maxBytes: number): Encoding => ({
  attributes: { "content-encoding": "gzip" },
  encode: (text) => {
    const size = Buffer.byteLength(text)
    if (size < above) return undefined
    const compressed = gzipSync(text, { level })
    // Base64 makes four bytes of three.
    return Math.ceil(compressed.length / 3) * 4 < size ? compressed.toString("base64") : undefined
  },
  decode: (body) => gunzip(body, maxBytes)
})

/** What consumers open unless they are told otherwise: `gzip` with its defaults. */
export const standard: ReadonlyArray<Encoding> = [encoding(1024, 6, defaultMaxBytes)]

const checks = (): InvalidOptions.Checks<GzipOptions> => ({
  above: InvalidOptions.aWholeNumber({ min: 0 }),
  level: InvalidOptions.aWholeNumber({ min: 1, max: 9 }),
  maxBytes: InvalidOptions.aWholeNumber({ min: 1, max: 2 ** 29 })
})

/** What may stand where an encoding belongs. */
export const check: InvalidOptions.Check = InvalidOptions.having(
  "an encoding, such as yield* SqsEncoding.gzip()",
  "attributes",
  "encode",
  "decode"
)

/**
 * Gzip, in base64 since SQS takes text only, with the attribute `content-encoding: gzip`. What does not become smaller
 * is sent as it is. It is done at once, on the thread: some 20 milliseconds for a MiB, a quarter of that to open it.
 *
 * Fails with `InvalidOptions`.
 */
export const gzip = (options: GzipOptions = {}): Effect.Effect<Encoding, InvalidOptions.InvalidOptions> =>
  Effect.map(InvalidOptions.check("SqsEncoding.gzip", options, checks()), () => {
    const { above = 1024, level = 6, maxBytes = defaultMaxBytes } = options
    return encoding(above, level, maxBytes)
  })

/** @internal The encoding that a message's attributes speak of. */
export const find = (
  encodings: ReadonlyArray<Encoding>,
  attributes: LeaseQueue.Message["attributes"]
): Encoding | undefined =>
  encodings.find((encoding) => {
    const named = Object.entries(encoding.attributes)
    return named.length > 0 && named.every(([name, value]) => attributes[name]?.value === String(value))
  })
