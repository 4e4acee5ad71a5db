/**
 * How a queue is named from outside: its URL and its ARN, which hold a region and an account, and which queue a
 * request means by one.
 */
import { missing, Refusal } from "./Refusal.js"

export interface Place {
  readonly region: string
  readonly accountId: string
}

export const doesNotExist = (message = "The specified queue does not exist."): Refusal =>
  new Refusal("QueueDoesNotExist", message)

export const arn = ({ accountId, region }: Place, name: string): string => `arn:aws:sqs:${region}:${accountId}:${name}`

export const nameOfArn = (arn: string): string => arn.slice(arn.lastIndexOf(":") + 1)

/** `sqs.<region>.<domain>` and the older `<region>.queue.<domain>`, under AWS's domain or another. */
const regional = /^https?:\/\/(?:sqs(?:-fips)?\.([a-z]{2}(?:-[a-z]+)+-\d)|([a-z]{2}(?:-[a-z]+)+-\d)\.queue)\./

/**
 * The name of the queue that is meant: by its name, or by a URL whose last two segments are account and name. Another
 * account has no queues here. The host does not matter, unless it names another region, as one of AWS's does.
 */
export const nameOf = (nameOrUrl: string | undefined, place: Place): string => {
  if (nameOrUrl === undefined || nameOrUrl === "") throw missing("QueueUrl")
  const slash = nameOrUrl.lastIndexOf("/")
  if (slash === -1) return nameOrUrl
  const [, one, other] = regional.exec(nameOrUrl) ?? []
  const region = one ?? other
  if (region !== undefined && region !== place.region) {
    throw new Refusal("InvalidAddress", `The address ${nameOrUrl} is not valid for this endpoint.`)
  }
  const account = nameOrUrl.slice(nameOrUrl.lastIndexOf("/", slash - 1) + 1, slash)
  if (account !== place.accountId && /^\d{12}$/.test(account)) throw doesNotExist()
  return nameOrUrl.slice(slash + 1)
}

/** Throws where another account is named as a queue's owner. */
export const checkOwner = (owner: string | undefined, place: Place): void => {
  if (owner !== undefined && owner !== place.accountId) {
    throw doesNotExist("The specified queue does not exist or you do not have access to it.")
  }
}
