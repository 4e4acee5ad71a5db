/** Credentials that a user gives, and as every client of the AWS SDK takes them. */
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Redacted from "effect/Redacted"

export interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: Redacted.Redacted
  readonly sessionToken?: Redacted.Redacted | undefined
}

/** What may stand where credentials belong. */
export const credentialsCheck: InvalidOptions.Check = InvalidOptions.fields<Credentials>({
  accessKeyId: InvalidOptions.required(InvalidOptions.text),
  secretAccessKey: InvalidOptions.required(InvalidOptions.redacted),
  sessionToken: InvalidOptions.redacted
})

export const plain = (credentials: Credentials) => ({
  accessKeyId: credentials.accessKeyId,
  secretAccessKey: Redacted.value(credentials.secretAccessKey),
  ...(credentials.sessionToken && { sessionToken: Redacted.value(credentials.sessionToken) })
})
