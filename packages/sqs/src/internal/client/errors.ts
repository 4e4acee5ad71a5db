/** From what a client threw to an `SqsError`. */
import * as SqsError from "../../SqsError.js"
import { Unreadable } from "./answer.js"
import { field, text } from "./field.js"

interface Thrown {
  readonly operation: string
  readonly message: string
  readonly cause: unknown
}
type Make = (thrown: Thrown) => SqsError.SqsError
interface Class {
  new (thrown: Thrown): SqsError.SqsError
  readonly prototype: SqsError.SqsError
}

/** `hint` says what to do about it. */
const error =
  (Of: Class, hint?: string): Make =>
  (thrown) =>
    new Of(hint === undefined ? thrown : { ...thrown, message: `${thrown.message} ${hint}` })

const credentials = (hint: string): Make => error(SqsError.InvalidCredentials, hint)
const malformed = credentials(
  "A key or token has a space, a line break or the like in it, often one at its end that a file or a secret's store has added: write it without."
)
const throttled = error(SqsError.RequestThrottled, "Call less often, or in larger batches.")
const noRegion = error(SqsError.MissingParameter, "Give the client its region, or set AWS_REGION.")
/** SQS did not get all of the request in its time, or says so of what it asked itself. */
const tookTooLong = error(SqsError.TransportError, "Check the network.")

/** What AWS calls as we do, and by other names too. */
const same = (Of: Class, hint?: string, ...others: ReadonlyArray<string>): readonly [names: string, make: Make] => [
  [Of.prototype.name, ...others].join(" "),
  error(Of, hint)
]

/** The query protocol writes it with a dot, and one of them in another way. */
const kms = (name: string, hint: string, queryName = name): readonly [names: string, make: Make] => {
  const code = `Kms${name}`
  const make: Make = (thrown) => new SqsError.KmsError({ ...thrown, code, message: `${thrown.message} ${hint}` })
  return [`${code} KMS.${queryName}`, make]
}

/**
 * Names as they come with the query header and without it, less AWS's prefixes and the suffix `Exception`; those of one
 * error are parted by a space.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
 */
const named: ReadonlyArray<readonly [names: string, make: Make]> = [
  same(
    SqsError.QueueDoesNotExist,
    "Check the queue's name, its account, and the region and endpoint that the client calls.",
    "NonExistentQueue"
  ),
  same(
    SqsError.QueueNameExists,
    "SqsQueue.ensure shows the differences, and changes the queue where it is told to.",
    "QueueAlreadyExists"
  ),
  same(SqsError.QueueDeletedRecently, "Wait 60 seconds from its deletion, or take another name."),
  same(SqsError.PurgeQueueInProgress),
  same(SqsError.ReceiptHandleIsInvalid),
  same(SqsError.MessageNotInflight),
  same(
    SqsError.InvalidAddress,
    "The queue's URL is of another region or service than the client calls: check the client's region and endpoint."
  ),
  same(SqsError.OverLimit, "Too many messages are in flight: settle some, or ask for fewer (maxInFlight)."),
  // As the AWS SDK knows them, for all of AWS.
  [
    "BandwidthLimitExceeded EC2Throttled LimitExceeded PriorRequestNotComplete ProvisionedThroughputExceeded RequestLimitExceeded RequestThrottled SlowDown Throttled Throttling TooManyRequests TransactionInProgress",
    throttled
  ],
  ["RequestTimeout", tookTooLong],
  same(
    SqsError.InvalidParameterValue,
    undefined,
    "InvalidParameterCombination InvalidIdFormat ValidationError Validation"
  ),
  same(SqsError.MissingParameter, undefined, "MissingRequiredParameter"),
  same(SqsError.InvalidAttributeName),
  same(SqsError.InvalidAttributeValue),
  same(SqsError.InvalidMessageContents),
  same(SqsError.EmptyBatchRequest),
  same(SqsError.TooManyEntriesInBatchRequest),
  same(SqsError.BatchEntryIdsNotDistinct),
  same(SqsError.InvalidBatchEntryId),
  same(SqsError.BatchRequestTooLong),
  same(SqsError.UnsupportedOperation),
  same(SqsError.ResourceNotFound),
  kms("AccessDenied", "Allow kms:Decrypt and kms:GenerateDataKey on the queue's key."),
  kms("Disabled", "Enable the queue's KMS key."),
  kms("InvalidKeyUsage", "The queue needs a symmetric KMS key for encryption."),
  kms("InvalidState", "The queue's KMS key cannot be used in its present state."),
  kms("NotFound", "The queue's KMS key is not there: check its id and region."),
  kms("OptInRequired", "The account is not subscribed to KMS."),
  kms("Throttled", "KMS asks for fewer calls: lengthen the queue's data key reuse period.", "Throttling"),
  same(
    SqsError.AccessDenied,
    "Allow the action in the caller's IAM policy and in the queue's policy.",
    "NotAuthorized UnauthorizedOperation OptInRequired"
  ),
  [
    "InvalidClientTokenId UnrecognizedClient InvalidAccessKeyId",
    credentials(
      "AWS does not know these credentials: check AWS_ACCESS_KEY_ID, or the profile, or set `endpoint` where this is not AWS."
    )
  ],
  [
    "SignatureDoesNotMatch InvalidSignature IncompleteSignature RequestExpired RequestInTheFuture RequestTimeTooSkewed InvalidSecurity",
    credentials("The signature does not fit: check the secret key, the region and the computer's clock.")
  ],
  ["MalformedCredentials", malformed],
  [
    "ExpiredToken TokenRefreshRequired TokenProviderError",
    credentials("The credentials are out of date: sign in again, or renew the session token.")
  ],
  [
    "MissingAuthenticationToken CredentialsProviderError",
    credentials(
      "No credentials were sent: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give them as `credentials`."
    )
  ]
]

const byName: ReadonlyMap<string, Make> = new Map(
  named.flatMap(([names, make]) => names.split(" ").map((name) => [name, make] as const))
)

/** AWS's name without the namespace of one protocol or the other. */
export const plainName = (name: string): string =>
  name
    .slice(name.lastIndexOf("#") + 1)
    .replace(/^AWS\.SimpleQueueService\./, "")
    .replace(/Exception$/, "")

const statusOf = (cause: unknown): number | undefined => {
  const status = cause instanceof Unreadable ? cause.status : field(field(cause, "$metadata"), "httpStatusCode")
  return typeof status === "number" ? status : undefined
}
const sentence = (said: string): string => (/[.!?]$/.test(said) ? said : `${said}.`)

/** Of a client that checks them itself, where Node has none. */
const noMd5 = "This Node has no MD5 (FIPS): make the SQSClient with `md5: false`, or use SqsClient.layer."
const between =
  "Something on the way has answered, or the endpoint is no SQS: check the endpoint, and proxies and gateways before it. Whether the call took effect is not known."

const closed = "The connection was closed before the answer."
const tooLong = "The answer took too long."

const transportHints: Readonly<Record<string, string>> = {
  ECONNREFUSED: "Nothing listens there: check the endpoint.",
  ENOTFOUND: "The host's name is not known: check the region, the endpoint and the network.",
  EAI_AGAIN: "The host's name could not be looked up: check the network.",
  ECONNRESET: closed,
  EPIPE: closed,
  UND_ERR_SOCKET: closed,
  ClientClosed: "The scope of its layer has ended: make calls before that.",
  TimeoutError: tooLong,
  TimeoutException: tooLong,
  ERR_OSSL_EVP_UNSUPPORTED: noMd5,
  UND_ERR_HEADERS_OVERFLOW: between,
  UND_ERR_RES_EXCEEDED_MAX_SIZE: between,
  Unreadable: between
}
/** Ours and the SDK's, of a body whose MD5 is not the one that was answered, or of an answer that has none. */
const checksum = /checksum/i
const tlsCode = /CERT|SSL|TLS|SELF_SIGNED|UNABLE_TO_VERIFY/

/** The first error with a code, the innermost first: Node wraps a refused connection to `localhost` in an AggregateError. */
const socketCode = (cause: unknown): string | undefined => {
  const errors = field(cause, "errors")
  return (
    (Array.isArray(errors) ? errors.map((error) => text(field(error, "code"))).find((code) => code) : undefined) ??
    text(field(cause, "code")) ??
    (field(cause, "cause") === undefined ? undefined : socketCode(field(cause, "cause")))
  )
}

/** SQS has not answered; `text` says what came instead. */
const unanswered = (operation: string, text: string, cause?: unknown): SqsError.TransportError =>
  new SqsError.TransportError({ operation, cause, status: statusOf(cause), message: `${operation}: ${text}` })

const transport = (operation: string, cause: unknown, message: string): SqsError.TransportError => {
  const code = socketCode(cause) ?? text(field(cause, "name")) ?? ""
  const address = [field(cause, "errors"), cause].flat().find((error) => text(field(error, "address")) !== undefined)
  const host = text(field(address, "address"))
  const where = host === undefined ? "" : ` (${host}:${String(field(address, "port"))})`
  const local = host === "127.0.0.1" || host === "::1"
  const hint =
    code === "ECONNREFUSED" && local
      ? "Nothing listens there: is the emulator running, and on that port?"
      : (transportHints[code] ??
        (tlsCode.test(code)
          ? "The server's certificate was refused: check the endpoint, https or http, and NODE_EXTRA_CA_CERTS."
          : checksum.test(message)
            ? `What was answered does not fit what was sent, or lacks what SQS says. ${between}`
            : "Check the network and the endpoint."))
  const said =
    message === "" || message === code
      ? `${code || "no reason given"}${where}`
      : `${message}${code === "" || message.includes(code) || /^[A-Z][a-z]/.test(code) ? "" : ` (${code})`}`
  return unanswered(operation, `${sentence(said)} ${hint}`, cause)
}

/** An answer that is not one of SQS's, or lacks what SQS always says. Whether the call took effect is not known. */
export const unreadable = (operation: string, problem: string, cause?: unknown): SqsError.TransportError =>
  unanswered(operation, `the answer cannot be read: ${sentence(problem)} ${between}`, cause)

/** No answer in the time that was given. */
export const timedOut = (operation: string, millis: number): SqsError.TransportError =>
  unanswered(
    operation,
    `no answer in ${millis / 1000} s. Check the network and the endpoint, or give the client a longer \`timeout\`.`
  )

/** The source of credentials did not answer in its time; the call was not sent. */
export const noCredentialsYet = (operation: string, millis: number): SqsError.TransportError =>
  unanswered(
    operation,
    `no credentials in ${millis / 1000} s. Check where they come from: the profile's process or sign-on, or the container's or instance's metadata.`
  )

/** What kind of failure AWS's name of one entry's tells of, where it tells of one that passes. */
export const passes = (code: string): "throttled" | "transient" | undefined => {
  const error = byName.get(plainName(code))?.({ operation: "", message: "", cause: undefined })
  const kind = error && SqsError.kind(error)
  return kind === "fatal" ? undefined : kind
}

/**
 * AWS's name, wherever a client put it. @effect-aws/client-sqs renames the errors that AWS's model does not list
 * (throttling, credentials); the name is left in `__type` and at the head of the stack.
 */
const namesOf = (cause: unknown): ReadonlyArray<string> =>
  [
    field(cause, "name"),
    field(cause, "Code"),
    field(cause, "__type"),
    field(cause, "_tag"),
    /^\w+/.exec(text(field(cause, "stack")) ?? "")?.[0]
  ].flatMap((name) => text(name)?.replace(/^.*#/, "") ?? [])

/** Names that say nothing: of JavaScript's own errors, of clients', and the status in place of a name. */
const nameless = /^(Error|TypeError|SyntaxError|RangeError|SdkError|Unknown|UnknownError|SQSServiceException|\d+)$/

/**
 * Knows an error by AWS's name, with the query header or without. What AWS has not named is a `TransportError`: it never
 * answered, or something on the way did, or its answer cannot be read.
 */
export const fromThrown =
  (operation: string) =>
  (cause: unknown): SqsError.SqsError => {
    try {
      return known(operation, cause)
    } catch {
      // What was thrown throws when it is looked at.
      return new SqsError.TransportError({ operation, cause, message: `${operation}: no reason given.` })
    }
  }

/** Node, of a header that cannot be sent. Of ours only those that carry credentials may be so. */
const unsendable = /invalid character in header content \["(authorization|x-amz-security-token)"\]/i

const known = (operation: string, cause: unknown): SqsError.SqsError => {
  const httpStatus = statusOf(cause)
  const said = text(field(cause, "message")) ?? text(cause) ?? ""
  const message = `${operation}: ${sentence(said === "" || said === "UnknownError" ? (text(field(cause, "name")) ?? "no reason given") : said)}`
  const thrown = { operation, message, cause }
  if (cause instanceof Unreadable) {
    return httpStatus === 429 ? throttled(thrown) : transport(operation, cause, said)
  }
  const names = namesOf(cause)
  for (const name of names) {
    const make = byName.get(plainName(name))
    if (make !== undefined) return make(thrown)
  }
  if (said.startsWith("Region is missing")) return noRegion(thrown)
  if (httpStatus === 429) return throttled(thrown)
  // AWS answered only where there is a status or a `$fault`.
  const answered = httpStatus !== undefined || field(cause, "$fault") !== undefined
  if (!answered && unsendable.test(said)) return malformed(thrown)
  if (!answered) return transport(operation, cause, said)
  const code = names.find((name) => !nameless.test(name))
  if (code !== undefined && httpStatus !== 408) {
    return new SqsError.UnknownSqsError({ ...thrown, code, status: httpStatus })
  }
  return httpStatus === undefined || httpStatus >= 500
    ? transport(operation, cause, said)
    : unreadable(operation, `status ${httpStatus}, ${said.split("\n", 1)[0]}`, cause)
}
