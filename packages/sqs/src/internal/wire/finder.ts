/** What the AWS SDK does for our own wire: its client finds region, credentials and endpoint, and sends nothing. */
import * as Sdk from "@aws-sdk/client-sqs"
import { withoutNotice } from "../client/withoutNotice.js"
import type { Scout } from "./route.js"

export interface Settings {
  readonly region: string | undefined
  readonly endpoint: string | undefined
  readonly credentials: Sdk.SQSClientConfig["credentials"] | undefined
}

/** A client that is only asked where calls go and with which credentials. */
export const finder = ({ credentials, endpoint, region }: Settings, scout: Scout): Sdk.SQSClient =>
  withoutNotice(
    () =>
      new Sdk.SQSClient({
        ...(region === undefined ? {} : { region }),
        ...(endpoint === undefined ? {} : { endpoint }),
        ...(credentials === undefined ? {} : { credentials }),
        maxAttempts: 1,
        requestHandler: scout
      })
  )
