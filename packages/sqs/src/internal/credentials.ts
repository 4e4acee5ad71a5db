/** Credentials as every client of the AWS SDK takes them. */
import * as Redacted from "effect/Redacted"
import type { Credentials } from "../SqsClient.js"

export const plain = (credentials: Credentials) => ({
  accessKeyId: credentials.accessKeyId,
  secretAccessKey: Redacted.value(credentials.secretAccessKey),
  ...(credentials.sessionToken && { sessionToken: Redacted.value(credentials.sessionToken) })
})
