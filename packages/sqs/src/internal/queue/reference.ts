/**
 * What a string says of a queue, before anyone is asked: a name, a URL or an ARN.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-message-identifiers.html
 */
import * as Data from "effect/Data"
import * as Either from "effect/Either"

/** What was given for a queue cannot be one, or is not the queue that answered. The message says what to write. */
export class InvalidQueue extends Data.TaggedError("InvalidQueue")<{
  readonly queue: string
  readonly message: string
}> {}

/** What a string says of a queue, before anyone was asked. */
export interface Reference {
  readonly name: string
  readonly fifo: boolean
  readonly url: string | undefined
  readonly region: string | undefined
  readonly account: string | undefined
}

const forms =
  'Write a name ("orders", "orders.fifo"), a URL ("https://sqs.eu-west-1.amazonaws.com/123456789012/orders") or an ARN ("arn:aws:sqs:eu-west-1:123456789012:orders").'

const refuse = (given: string, problem: string) =>
  Either.left(new InvalidQueue({ queue: given, message: `"${given}" ${problem}. ${forms}` }))

const reference = (
  given: string,
  name: string,
  rest: Pick<Reference, "url" | "region" | "account">
): Either.Either<Reference, InvalidQueue> => {
  const fifo = name.endsWith(".fifo")
  const problem = !/^[\w-]*$/.test(fifo ? name.slice(0, -".fifo".length) : name)
    ? "has characters that a queue's name cannot have: only letters, digits, hyphens, underscores and the ending .fifo"
    : name === "" || name === ".fifo"
      ? "names no queue"
      : name.length > 80
        ? `has ${name.length} characters: a queue's name has at most 80`
        : undefined
  return problem === undefined ? Either.right({ name, fifo, ...rest }) : refuse(given, problem)
}

/** `sqs.<region>`, `sqs-fips.<region>`, `<region>.queue` and `queue`, with VPC endpoints' prefixes and every partition. */
const awsHost =
  /^(?:(?:[\w-]+\.)*sqs(?:-fips)?\.([a-z0-9-]+)|(?:([a-z0-9-]+)\.)?queue)(?:\.vpce)?\.(?:amazonaws\.com(?:\.cn)?|api\.aws|api\.amazonwebservices\.com\.cn)$/

const accountOfAws = /^\d{12}$/

/** An account as `GetQueueUrl` takes it: other services have owners of other forms. @internal */
export const ownerOf = (account: string): string | undefined => (accountOfAws.test(account) ? account : undefined)

const parseUrl = (given: string): Either.Either<Reference, InvalidQueue> => {
  if (!URL.canParse(given)) return refuse(given, "is not a URL")
  const url = new URL(given)
  const segments = url.pathname.split("/").filter((segment) => segment !== "")
  const name = segments.at(-1) ?? ""
  const account = segments.at(-2)
  const aws = awsHost.exec(url.hostname)
  if (url.search !== "" || url.hash !== "") return refuse(given, "has more than a queue's URL")
  if (aws === null) {
    // LocalStack, ElasticMQ and the like: a path of their own before the name, an account only where it looks like one.
    return reference(given, name, { url: given, region: undefined, account: account && ownerOf(account) })
  }
  return segments.length === 2 && account !== undefined && accountOfAws.test(account)
    ? reference(given, name, { url: given, region: aws[1] ?? aws[2] ?? "us-east-1", account })
    : refuse(given, "is not the URL of a queue: its path must be an account of 12 digits and a name")
}

/**
 * What an ARN says, as AWS and services like it write them: `arn:scw:sqs:fr-par:project-…:orders`,
 * `yrn:yc:ymq:ru-central1:…:orders`, without region or account. A server that has none gives the bare name, or nothing.
 *
 * @internal
 */
export const ofArn = (arn: string): Pick<Reference, "name" | "region" | "account"> => {
  const parts = arn.split(":")
  const [region, account] = parts.length < 6 ? [] : [parts[3], parts[4]]
  return { name: parts.at(-1) ?? "", region: region || undefined, account: account || undefined }
}

const parseArn = (given: string): Either.Either<Reference, InvalidQueue> => {
  const [, partition = "", service = "", ...rest] = given.split(":")
  const { account, name, region } = ofArn(given)
  if (/^aws/.test(partition)) {
    if (service !== "sqs") return refuse(given, "is not the ARN of a queue: its service is not sqs")
    // A server of one's own may have accounts and regions of its own form, or neither.
    const isAws = account !== undefined && region !== undefined && (accountOfAws.test(account) || /\D/.test(account))
    if (rest.length !== 3 || !(isAws || (account === undefined && region === undefined))) {
      return refuse(given, "is not the ARN of a queue: it must be arn:aws:sqs:<region>:<account of 12 digits>:<name>")
    }
  }
  return rest.length < 3
    ? refuse(given, "is not the ARN of a queue: it is too short")
    : reference(given, name, { url: undefined, region, account })
}

/** Reads a queue's name, URL or ARN; fails with `InvalidQueue` where it is none. Asks nobody. */
export const parse = (queue: string): Either.Either<Reference, InvalidQueue> =>
  // From JavaScript, most often a variable of the environment that is not set.
  typeof queue !== "string"
    ? Either.left(
        new InvalidQueue({
          queue: String(queue),
          message: `the queue is ${queue === null ? "null" : typeof queue}. ${forms}`
        })
      )
    : /^[a-z]+:[^/]*$/.test(queue)
      ? parseArn(queue)
      : queue.includes("/")
        ? parseUrl(queue)
        : reference(queue, queue, { url: undefined, region: undefined, account: undefined })
